package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

// pollInterval is how often the progress of a job is asked for, which has no
// events, and how soon a change shows if the events fail.
const pollInterval = 500 * time.Millisecond

// verdict says of a job whether the waiting is over, and with which error.
type verdict func(api.Job) (over bool, err error)

// reached waits for all instances of a job to have been in a state.
func reached(want job.State) verdict {
	return func(j api.Job) (bool, error) {
		done := len(j.Instances) > 0
		for _, in := range j.Instances {
			done = done && has(in, want)
		}
		switch {
		case done:
			return true, nil
		case j.State.Ended(), j.State == job.NotDeployable:
			return true, failed("job %s is %s%s", j.Name, j.State, because(j))
		}
		return false, nil
	}
}

// has reports whether an instance is in a state or has been; a batch job that
// has completed has run.
func has(in api.Instance, want job.State) bool {
	if in.State == want || want == job.Running && in.State == job.Completed {
		return true
	}
	for _, ch := range in.History {
		// A job that has run and failed is not what someone waits for.
		if ch.State == want && in.State != job.Failed {
			return true
		}
	}
	return false
}

// ended waits for the end of a job.
func ended(j api.Job) (bool, error) { return j.State.Ended(), nil }

// because is why a job is in trouble.
func because(j api.Job) string {
	for _, in := range j.Instances {
		if in.State != j.State {
			continue
		}
		var b strings.Builder
		if in.Reason != "" {
			b.WriteString(": " + clean(in.Reason))
		}
		if in.Exit != nil && in.Exit.OOMKilled {
			b.WriteString(" (it needed more memory than its limit)")
		}
		if len(in.Rejections) > 0 {
			b.WriteString("\n")
			rejections(&b, in.Rejections, "  ")
		}
		return strings.TrimSuffix(b.String(), "\n")
	}
	return ""
}

// await shows on out what happens to a job until a verdict says that it is
// over, and returns the job as it is then.
func (p *program) await(ctx context.Context, cl *api.Client, id string, over verdict, timeout time.Duration, out io.Writer) (api.Job, error) {
	outer := ctx
	ctx, cancel := context.WithCancel(ctx)
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
	}
	wake := make(chan struct{}, 1)
	watched := make(chan error, 1)
	go func() {
		watched <- cl.Events(ctx, api.EventQuery{Job: id, Follow: true}, func(api.Event) error {
			select {
			case wake <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	defer func() { cancel(); <-watched }()
	v := &progressView{out: out, live: p.errTerminal, seen: map[string]int{}}
	defer v.clear()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var last api.Job
	for {
		j, err := cl.Job(ctx, id)
		switch {
		case err == nil:
			last = j
			v.show(j)
			if done, verr := over(j); done {
				return j, verr
			}
		case ctx.Err() == nil && !errors.Is(err, api.ErrUnavailable):
			return last, err
		}
		select {
		case <-ctx.Done():
			if outer.Err() != nil {
				return last, outer.Err()
			}
			return last, failed("job %s is %s after %s; it stays deployed: see edgectl job show %s", last.Name, last.State, timeout, id)
		case <-wake:
		case <-tick.C:
		}
	}
}

// progressView shows the changes of a job's state, one line each, and the
// progress of what is under way: a bar on a terminal, else a line per phase.
type progressView struct {
	out   io.Writer
	live  bool           // out is a terminal
	seen  map[string]int // changes shown, by instance
	phase string         // shown last
	bar   bool           // there is a bar on the line of the cursor
}

func (v *progressView) show(j api.Job) {
	for _, in := range j.Instances {
		for _, ch := range in.History[min(v.seen[in.ID], len(in.History)):] {
			v.clear()
			fmt.Fprintln(v.out, change(j, in, ch))
		}
		v.seen[in.ID] = len(in.History)
		if in.Progress != nil && !in.State.Ended() {
			v.progress(*in.Progress)
		}
	}
}

// change is a line like "hello RUNNING on garching/e580".
func change(j api.Job, in api.Instance, ch api.Change) string {
	line := fmt.Sprintf("%s  %s", ch.Time.Local().Format(time.TimeOnly), ch.State)
	if len(j.Instances) > 1 {
		line += fmt.Sprintf(" [%d]", in.Index)
	}
	switch place := place(in); {
	case ch.State == job.ScheduledCluster && in.Cluster.String() != "":
		line += "  " + in.Cluster.String()
	case (ch.State == job.ScheduledNode || ch.State == job.Running) && place != "":
		line += "  " + place
	}
	if ch.Reason != "" {
		line += "  " + ch.Reason
	}
	return clean(line)
}

// place is where an instance is, "cluster/node".
func place(in api.Instance) string {
	var parts []string
	for _, r := range []api.Ref{in.Cluster, in.Node} {
		if s := r.String(); s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "/")
}

func (v *progressView) progress(pr api.Progress) {
	if !v.live {
		if pr.Phase != v.phase && pr.Phase != "" {
			fmt.Fprintln(v.out, clean(pr.Phase+"…"))
		}
		v.phase = pr.Phase
		return
	}
	v.clear()
	fmt.Fprint(v.out, bar(pr))
	v.bar = true
}

// bar is a progress bar of fixed width.
func bar(pr api.Progress) string {
	const width = 30
	if pr.Total <= 0 {
		return clean(fmt.Sprintf("%s  %s", pr.Phase, amount(pr.Current)))
	}
	full := int(width * min(max(pr.Current, 0), pr.Total) / pr.Total)
	return clean(fmt.Sprintf("%s  [%s%s] %s of %s", pr.Phase,
		strings.Repeat("=", full), strings.Repeat(" ", width-full), amount(pr.Current), amount(pr.Total)))
}

// clear takes the bar away.
func (v *progressView) clear() {
	if v.bar {
		fmt.Fprint(v.out, "\r\x1b[K")
		v.bar = false
	}
}
