package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Targets, and how long programs are given to come to rest.
const (
	agentTargetMiB      = 22
	agentTargetPercent  = 0.1
	linkTargetBitSecond = 250
	settleTime          = 10 * time.Second
)

// measureIdle watches a tree that has nothing to do any more, with a meter between agent and cluster.
func measureIdle(ctx context.Context, b *bench) (figures []figure, err error) {
	m := &meter{}
	defer m.close()
	t, err := b.plant(ctx, m.open)
	defer func() { err = errors.Join(err, t.fell(ctx)) }()
	if err != nil {
		return nil, err
	}
	if err := t.warmUp(ctx); err != nil {
		return nil, err
	}
	if err := sleep(ctx, settleTime); err != nil {
		return nil, err
	}
	var before []consumption
	for _, p := range t.programs() {
		c, err := consumed(p)
		if err != nil {
			return nil, err
		}
		before = append(before, c)
	}
	begin, up, down := time.Now(), m.up.load(), m.down.load()
	if err := sleep(ctx, b.idle); err != nil {
		return nil, err
	}
	took, up, down := time.Since(begin), m.up.load().minus(up), m.down.load().minus(down)
	for i, p := range t.programs() {
		after, err := consumed(p)
		if err != nil {
			return nil, err
		}
		// The kernel may have taken back memory in between.
		rss := max(before[i].rssMiB, after.rssMiB)
		percent := 100 * float64(after.cpu-before[i].cpu) / float64(took)
		if p == t.agent {
			figures = append(figures, atMost("idle agent: memory (RSS)", rss, "MiB", agentTargetMiB),
				atMost("idle agent: CPU", percent, "% of a core", agentTargetPercent).noted("over %s", took.Round(time.Second)))
			continue
		}
		figures = append(figures, figure{Name: "idle " + p.name + ": memory (RSS)", Value: rss, Unit: "MiB"},
			figure{Name: "idle " + p.name + ": CPU", Value: percent, Unit: "% of a core"})
	}
	bits := 8 * float64(up.bytes()+down.bytes()) / took.Seconds()
	return append(figures, atMost("idle link: both ways, with IP headers", bits, "bit/s", linkTargetBitSecond).
		noted("%d packets up, %d down in %s", up.packets, down.packets, took.Round(time.Second))), nil
}

// consumption is what a program uses, or has used.
type consumption struct {
	rssMiB float64
	cpu    time.Duration
}

func consumed(p *program) (c consumption, err error) {
	if c.rssMiB, err = rssMiB(p.pid()); err != nil {
		return c, fmt.Errorf("memory of the %s: %w", p.name, err)
	}
	c.cpu, err = cpuTime(p.pid())
	return c, err
}

// warmUpJobs are enough for a link to find out how large its packets may be. It
// does that once, with packets of more than a thousand bytes that go along with
// others: on a link that is idle from the beginning that takes minutes.
const warmUpJobs = 10

// warmUp has programs and links do what they do once only.
func (t *tree) warmUp(ctx context.Context) error {
	for i := range warmUpJobs {
		name := fmt.Sprintf("warm-up-%d", i)
		file, err := nativeFile(name)
		if err != nil {
			return err
		}
		id, _, err := t.deployed(ctx, name, file)
		if err == nil {
			err = t.terminated(ctx, id, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
