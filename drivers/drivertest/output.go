package drivertest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

// output is what Logs passed on, joined per stream.
type output struct {
	stdout, stderr bytes.Buffer
	entries        []drivers.LogEntry // without Data
}

func (o *output) add(e drivers.LogEntry) error {
	switch e.Stream {
	case drivers.Stdout:
		o.stdout.Write(e.Data)
	case drivers.Stderr:
		o.stderr.Write(e.Data)
	default:
		return errors.New("log entry of unknown stream " + string(e.Stream))
	}
	e.Data = nil
	o.entries = append(o.entries, e)
	return nil
}

// logs returns what is in the log now.
func (s *suite) logs(h drivers.Handle, o drivers.LogOptions) *output {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	out := new(output)
	if err := s.d.Logs(ctx, h, o, out.add); err != nil {
		s.Fatalf("Logs: %v", err)
	}
	return out
}

// all is the whole log.
var all = drivers.LogOptions{Tail: -1}

// stdout returns the whole standard output so far.
func (s *suite) stdout(h drivers.Handle) string {
	s.Helper()
	return s.logs(h, all).stdout.String()
}

// waitOutput follows the log until standard output contains text.
func (s *suite) waitOutput(h drivers.Handle, text string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	found := errors.New("found")
	out := new(output)
	err := s.d.Logs(ctx, h, drivers.LogOptions{Follow: true, Tail: -1}, func(e drivers.LogEntry) error {
		if err := out.add(e); err != nil {
			return err
		}
		if strings.Contains(out.stdout.String(), text) {
			return found
		}
		return nil
	})
	if !errors.Is(err, found) {
		s.Fatalf("waiting for output %q: %v; there was stdout %q, stderr %q", text, err, out.stdout.String(), out.stderr.String())
	}
}

// follower follows a log in a goroutine of its own.
type follower struct {
	s      *suite
	cancel context.CancelFunc
	texts  chan string // standard output so far, after each entry; the newest only
	done   chan error
}

func (s *suite) follow(h drivers.Handle) *follower {
	ctx, cancel := context.WithCancel(s.ctx)
	f := &follower{s: s, cancel: cancel, texts: make(chan string, 1), done: make(chan error, 1)}
	d := s.d
	go func() {
		out := new(output)
		f.done <- d.Logs(ctx, h, drivers.LogOptions{Follow: true, Tail: -1}, func(e drivers.LogEntry) error {
			err := out.add(e)
			select {
			case <-f.texts:
			default:
			}
			f.texts <- out.stdout.String()
			return err
		})
	}()
	s.Cleanup(cancel)
	return f
}

// until waits until the followed output satisfies ok.
func (f *follower) until(what string, ok func(string) bool) {
	f.s.Helper()
	last := ""
	deadline := time.After(patience)
	for {
		select {
		case last = <-f.texts:
			if ok(last) {
				return
			}
		case err := <-f.done:
			f.s.Fatalf("Logs with Follow ended with %v before %s; output %q", err, what, last)
		case <-deadline:
			f.s.Fatalf("followed output never had %s; it is %q", what, last)
		}
	}
}

// end waits until Logs has returned.
func (f *follower) end() error {
	f.s.Helper()
	select {
	case err := <-f.done:
		return err
	case <-time.After(patience):
		f.s.Fatalf("Logs with Follow did not end")
		return nil
	}
}
