package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

// watch notes when the events of the root tell that a job has come to a state.
type watch struct {
	stop func() // ends the watch and waits for that

	mu      sync.Mutex
	seen    map[string]map[job.State]time.Time // by the job's name
	changed chan struct{}                      // closed at the next event
	err     error                              // why it has ended
}

// follow watches from the first event on, until stop is called.
func follow(ctx context.Context, client *api.Client) *watch {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &watch{seen: map[string]map[job.State]time.Time{}, changed: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := client.Events(ctx, api.EventQuery{Follow: true}, func(ev api.Event) error {
			w.note(ev, nil)
			return nil
		})
		w.note(api.Event{}, err)
	}()
	w.stop = func() { cancel(); <-ended }
	return w
}

func (w *watch) note(ev api.Event, err error) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[ev.JobName] == nil {
		w.seen[ev.JobName] = map[job.State]time.Time{}
	}
	w.seen[ev.JobName][ev.State] = now
	w.err = err
	close(w.changed)
	w.changed = make(chan struct{})
}

// stateTimeout bounds the wait for one state of one job.
const stateTimeout = time.Minute

// reached waits until a job has come to a state and returns when that was seen.
func (w *watch) reached(ctx context.Context, name string, state job.State) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	for {
		w.mu.Lock()
		at, ok := w.seen[name][state]
		_, failed := w.seen[name][job.Failed]
		changed, err := w.changed, w.err
		w.mu.Unlock()
		switch {
		case ok:
			return at, nil
		case failed:
			return at, fmt.Errorf("job %s failed", name)
		case err != nil:
			return at, fmt.Errorf("watch events: %w", err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return at, fmt.Errorf("wait until job %s is %s: %w", name, state, ctx.Err())
		}
	}
}

// deployed posts a job and returns its id, how long that took, and how long
// until it was seen running.
func (t *tree) deployed(ctx context.Context, name, file string) (id string, took time.Duration, err error) {
	begin := time.Now()
	j, err := t.client.Deploy(ctx, []byte(file), "")
	if err != nil {
		return "", 0, fmt.Errorf("deploy %s: %w", name, err)
	}
	running, err := t.events.reached(ctx, name, job.Running)
	return j.ID, running.Sub(begin), err
}

// clientConnections is how many jobs are posted at a time. A client that has
// many uses its connections again rather than making one for each.
const clientConnections = 8

// deployAll posts many jobs at once and returns how long it took until all
// were seen running.
func (t *tree) deployAll(ctx context.Context, files map[string]string) (time.Duration, error) {
	names := make(chan string, len(files))
	for name := range files {
		names <- name
	}
	close(names)
	begin, last := time.Now(), time.Time{}
	err := inParallel(clientConnections, func() error {
		for name := range names {
			if _, err := t.client.Deploy(ctx, []byte(files[name]), ""); err != nil {
				return fmt.Errorf("deploy %s: %w", name, err)
			}
		}
		return nil
	})
	for name := range files {
		if err != nil {
			return 0, err
		}
		var at time.Time
		if at, err = t.events.reached(ctx, name, job.Running); at.After(last) {
			last = at
		}
	}
	return last.Sub(begin), err
}

// inParallel runs n workers.
func inParallel(n int, work func() error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = work() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// terminated ends a job and waits until nothing is left of it.
func (t *tree) terminated(ctx context.Context, id, name string) error {
	if _, err := t.client.Terminate(ctx, id); err != nil {
		return fmt.Errorf("terminate %s: %w", name, err)
	}
	_, err := t.events.reached(ctx, name, job.Terminated)
	return err
}

// terminateAll ends all jobs and waits until nothing is left of them.
func (t *tree) terminateAll(ctx context.Context) error {
	jobs, err := t.client.Jobs(ctx, api.JobQuery{})
	if err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	for _, j := range jobs {
		if j.Desired == api.DesiredTerminated {
			continue
		}
		if _, err := t.client.Terminate(ctx, j.ID); err != nil {
			return fmt.Errorf("terminate %s: %w", j.Name, err)
		}
	}
	for _, j := range jobs {
		if _, err := t.events.reached(ctx, j.Name, job.Terminated); err != nil {
			return err
		}
	}
	return nil
}
