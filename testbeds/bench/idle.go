package main

import (
	"context"
	"errors"
	"time"
)

// Targets, and how long programs are given to come to rest.
const (
	agentTargetMiB      = 22
	agentTargetPercent  = 0.1
	linkTargetBitSecond = 250
	settleTime          = 10 * time.Second
)

// measureIdle watches a tree without jobs, with a meter between agent and cluster.
func measureIdle(ctx context.Context, b *bench) (figures []figure, err error) {
	m := &meter{}
	defer m.close()
	t, err := b.plant(ctx, m.open)
	defer func() { err = errors.Join(err, t.fell(ctx)) }()
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, settleTime); err != nil {
		return nil, err
	}
	programs := []*program{t.agent, t.cluster, t.root}
	before := make([]time.Duration, len(programs))
	for i, p := range programs {
		if before[i], err = cpuTime(p.pid()); err != nil {
			return nil, err
		}
	}
	begin, up, down := time.Now(), m.up.load(), m.down.load()
	if err := sleep(ctx, b.idle); err != nil {
		return nil, err
	}
	took, up, down := time.Since(begin), m.up.load().minus(up), m.down.load().minus(down)
	for i, p := range programs {
		rss, err := rssMiB(p.pid())
		if err != nil {
			return nil, err
		}
		cpu, err := cpuTime(p.pid())
		if err != nil {
			return nil, err
		}
		percent := 100 * float64(cpu-before[i]) / float64(took)
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
