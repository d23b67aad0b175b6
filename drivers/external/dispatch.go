package external

import (
	"context"
	"slices"

	"github.com/edgeio/edgeio/drivers"
)

// call does what the agent asks for. Frames before the last go out by a.
func (s *server) call(ctx context.Context, req request, a *answer) (result, error) {
	switch req.Call {
	case callHello:
		return s.hello(req)
	case callProbe:
		info := s.driver.Probe(ctx)
		return result{Info: &info}, nil
	case callCreate:
		return s.create(ctx, req, a)
	case callList:
		return s.list(ctx, a)
	case callWatch:
		w, ok := s.driver.(drivers.Watcher)
		if !ok {
			return result{}, unsupported(req, "it does not notice changes by itself")
		}
		return result{}, w.Watch(ctx, func() { _ = a.send(output{Changed: true}) }) // an agent that is gone ends ctx
	}
	if req.Handle == nil {
		if !slices.Contains([]string{callStart, callStop, callRemove, callStatus, callWait, callLogs, callExec, callStats}, req.Call) {
			return result{}, unsupported(req, "there is no such call")
		}
		return result{}, drivers.Errorf(drivers.ErrInvalid, req.Call, "", "there is no handle: %w", errMalformed)
	}
	return s.callWorkload(ctx, req, *req.Handle, a)
}

// callWorkload does the calls that concern a workload.
func (s *server) callWorkload(ctx context.Context, req request, h drivers.Handle, a *answer) (result, error) {
	switch req.Call {
	case callStart:
		return result{}, s.driver.Start(ctx, h)
	case callStop:
		var o drivers.StopOptions
		if req.Stop != nil {
			o = drivers.StopOptions{Signal: req.Stop.Signal, Grace: req.Stop.Grace}
		}
		return result{}, s.driver.Stop(ctx, h, o)
	case callRemove:
		return result{}, s.driver.Remove(ctx, h)
	case callStatus:
		st, err := s.driver.Status(ctx, h)
		return result{Status: &st}, err
	case callWait:
		exit, err := s.driver.Wait(ctx, h)
		return result{Exit: &exit}, err
	case callLogs:
		return s.logs(ctx, req, h, a)
	case callExec:
		return s.exec(ctx, req, h, a)
	case callStats:
		r, ok := s.driver.(drivers.StatsReader)
		if !ok {
			return result{}, unsupported(req, "it does not measure")
		}
		st, err := r.Stats(ctx, h)
		return result{Stats: &st}, err
	}
	return result{}, unsupported(req, "there is no such call")
}

func unsupported(req request, why string) error {
	return drivers.Errorf(drivers.ErrUnsupported, clip(req.Call, 40), req.workload(), "the driver program cannot do that: %s", why)
}

func (s *server) hello(req request) (result, error) {
	if req.Protocol != Protocol {
		return result{}, drivers.Errorf(drivers.ErrUnsupported, req.Call, "", "this driver program speaks version %d of the driver protocol, the agent version %d: install matching ones", Protocol, req.Protocol)
	}
	h := s.name()
	return result{Hello: &h}, nil
}

func (s *server) create(ctx context.Context, req request, a *answer) (result, error) {
	if req.Spec == nil {
		return result{}, drivers.Errorf(drivers.ErrInvalid, req.Call, "", "there is no spec: %w", errMalformed)
	}
	h, err := s.driver.Create(ctx, req.Spec.spec(), func(p drivers.Progress) {
		_ = a.send(output{Progress: &p}) // an agent that is gone ends ctx
	})
	return result{Handle: &h}, err
}

func (s *server) list(ctx context.Context, a *answer) (result, error) {
	handles, err := s.driver.List(ctx)
	if err != nil {
		return result{}, err
	}
	for _, h := range handles {
		if err := a.send(output{Handle: &h}); err != nil {
			return result{}, err
		}
	}
	return result{}, nil
}

func (s *server) logs(ctx context.Context, req request, h drivers.Handle, a *answer) (result, error) {
	o := drivers.LogOptions{Tail: -1}
	if req.Logs != nil {
		o = drivers.LogOptions{Follow: req.Logs.Follow, Tail: req.Logs.Tail, Since: req.Logs.Since}
	}
	return result{}, s.driver.Logs(ctx, h, o, func(e drivers.LogEntry) error {
		for piece := range slices.Chunk(e.Data, maxChunk) {
			if err := a.send(output{Log: &logEntry{e.Time, e.Stream, piece}}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *server) exec(ctx context.Context, req request, h drivers.Handle, a *answer) (result, error) {
	e, ok := s.driver.(drivers.Execer)
	if !ok {
		return result{}, unsupported(req, "it runs no further commands in a workload")
	}
	if req.Exec == nil {
		return result{}, drivers.Errorf(drivers.ErrInvalid, req.Call, h.ID, "there is no command: %w", errMalformed)
	}
	o := drivers.ExecOptions{
		Command: fromTexts(req.Exec.Command), Env: fromPairs(req.Exec.Env), TTY: req.Exec.TTY, Size: a.sizes,
		Stdout: stream{a, func(b []byte) output { return output{Stdout: &b} }},
		Stderr: stream{a, func(b []byte) output { return output{Stderr: &b} }},
	}
	if req.Exec.Stdin {
		o.Stdin = &stdin{a: a, done: ctx.Done()}
	}
	code, err := e.Exec(ctx, h, o)
	return result{Code: &code}, err
}
