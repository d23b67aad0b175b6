package external

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

// The times that a client allows. They are no settings: they bound what is
// broken, and nothing that works comes near them.
const (
	// cancelGrace is how long the answer to a cancelled Create or Exec is
	// awaited, so that what the driver undoes is undone when the call returns.
	cancelGrace = 3 * time.Second
	// slowAnswer is when a call without an answer makes the program suspect.
	slowAnswer = 10 * time.Second
)

// client makes calls of a driver behind a socket, each over a connection of
// its own: the kernel keeps them apart, and a slow reader slows only itself.
type client struct {
	dial    func(ctx context.Context) (net.Conn, error)
	suspect func() // called if an answer is overdue
}

var (
	_ drivers.Driver      = (*client)(nil)
	_ drivers.Execer      = (*client)(nil)
	_ drivers.StatsReader = (*client)(nil)
	_ drivers.Watcher     = (*client)(nil)
)

// exchange is a call under way.
type exchange struct {
	conn net.Conn
	mu   sync.Mutex // one frame at a time
}

func (x *exchange) send(v any) error {
	b, err := encode(v)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	_, err = x.conn.Write(b)
	return err
}

// cancel tells the driver that the caller's context has ended, and ends the
// exchange after the grace time.
func (x *exchange) cancel(grace time.Duration) {
	// A deadline that cannot be set is one of a connection that is closed.
	_ = x.conn.SetDeadline(time.Now().Add(grace))
	if grace > 0 {
		_ = x.send(input{Cancel: true})
	}
}

// handling is what a call does besides waiting for its result.
type handling struct {
	grace time.Duration         // for the answer, once the context has ended
	begun func(*exchange)       // after the request is sent
	frame func(f *output) error // for each frame but the last
}

// do makes one call.
func (c *client) do(ctx context.Context, req request, on handling) (result, error) {
	id := req.workload()
	fail := func(class, err error) (result, error) {
		return result{}, drivers.Errorf(class, req.Call, id, "%w", err)
	}
	if err := ctx.Err(); err != nil {
		return fail(drivers.ErrUnavailable, err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		req.Timeout = max(time.Until(deadline), 1)
	}
	first, err := encode(req)
	if err != nil {
		return fail(drivers.ErrInvalid, err)
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return fail(drivers.ErrUnavailable, err)
	}
	defer conn.Close()
	overdue := time.AfterFunc(slowAnswer, c.suspect)
	defer overdue.Stop()

	x := &exchange{conn: conn}
	x.mu.Lock() // the request comes first, whoever else has something to say
	cancelled := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(cancelled); x.cancel(on.grace) })
	defer func() {
		if !stop() {
			<-cancelled
		}
	}()
	_, err = conn.Write(first)
	x.mu.Unlock()
	if err == nil && on.begun != nil {
		on.begun(x)
	}
	// After a write that failed there may still be an answer to read.
	res, err := receive(conn, on.frame)
	var lost *lostError
	if errors.As(err, &lost) {
		if cerr := ctx.Err(); cerr != nil {
			c.suspect()
			err = cerr
		}
		return fail(drivers.ErrUnavailable, err)
	}
	return res, alsoContext(ctx, err, req.Call, id)
}

// alsoContext makes an error of the driver one of the caller's context, too, if
// that has ended: the driver only knows that it was cancelled.
func alsoContext(ctx context.Context, err error, op, id string) error {
	cerr := ctx.Err()
	var remote *remoteError
	if err == nil || cerr == nil || errors.Is(err, cerr) || !errors.As(err, &remote) {
		return err
	}
	return drivers.Errorf(drivers.ErrUnavailable, op, id, "%w: %w", cerr, remote)
}

// receive reads frames until the last one.
func receive(conn net.Conn, frame func(*output) error) (result, error) {
	r := bufio.NewReader(conn)
	for {
		var f output
		if err := readFrame(r, &f); err != nil {
			return result{}, &lostError{cause: ended(err)}
		}
		switch {
		case f.Result != nil:
			return *f.Result, nil
		case f.Error != nil:
			return result{}, f.Error.error()
		case frame != nil:
			if err := frame(&f); err != nil {
				return result{}, err
			}
		}
	}
}

func ended(err error) error {
	if errors.Is(err, errMalformed) {
		return err
	}
	return fmt.Errorf("the driver program ended in the middle of the call: %w", err)
}

// workload is the id of the workload that a request concerns.
func (r request) workload() string {
	switch {
	case r.Handle != nil:
		return r.Handle.ID
	case r.Spec != nil:
		return string(r.Spec.ID)
	}
	return ""
}

// incomplete is a result that lacks what it should have.
func incomplete(op, id string) error {
	return drivers.Errorf(drivers.ErrUnavailable, op, id, "the driver program's answer is incomplete: %w", errMalformed)
}

func (c *client) hello(ctx context.Context) (hello, error) {
	r, err := c.do(ctx, request{Call: callHello, Protocol: Protocol}, handling{})
	if err != nil {
		return hello{}, err
	}
	if r.Hello == nil {
		return hello{}, incomplete(callHello, "")
	}
	return *r.Hello, nil
}

func (c *client) probe(ctx context.Context) (drivers.Info, error) {
	r, err := c.do(ctx, request{Call: callProbe}, handling{})
	if err != nil {
		return drivers.Info{}, err
	}
	if r.Info == nil {
		return drivers.Info{}, incomplete(callProbe, "")
	}
	return *r.Info, nil
}

// Probe implements drivers.Driver.
func (c *client) Probe(ctx context.Context) drivers.Info {
	info, err := c.probe(ctx)
	if err != nil {
		return drivers.Info{Reason: err.Error()}
	}
	return info
}

// Create implements drivers.Driver.
func (c *client) Create(ctx context.Context, s drivers.Spec, progress func(drivers.Progress)) (drivers.Handle, error) {
	r, err := c.do(ctx, request{Call: callCreate, Spec: toSpec(s)}, handling{grace: cancelGrace, frame: func(f *output) error {
		if f.Progress != nil && progress != nil {
			progress(*f.Progress)
		}
		return nil
	}})
	if err != nil {
		return drivers.Handle{}, err
	}
	if r.Handle == nil {
		return drivers.Handle{}, incomplete(callCreate, s.ID)
	}
	return *r.Handle, nil
}

// Start implements drivers.Driver.
func (c *client) Start(ctx context.Context, h drivers.Handle) error {
	_, err := c.do(ctx, request{Call: callStart, Handle: &h}, handling{})
	return err
}

// Stop implements drivers.Driver.
func (c *client) Stop(ctx context.Context, h drivers.Handle, o drivers.StopOptions) error {
	_, err := c.do(ctx, request{Call: callStop, Handle: &h, Stop: &stopOptions{o.Signal, o.Grace}}, handling{})
	return err
}

// Remove implements drivers.Driver.
func (c *client) Remove(ctx context.Context, h drivers.Handle) error {
	_, err := c.do(ctx, request{Call: callRemove, Handle: &h}, handling{})
	return err
}

// Status implements drivers.Driver.
func (c *client) Status(ctx context.Context, h drivers.Handle) (drivers.Status, error) {
	r, err := c.do(ctx, request{Call: callStatus, Handle: &h}, handling{})
	if err != nil {
		return drivers.Status{}, err
	}
	if r.Status == nil {
		return drivers.Status{}, incomplete(callStatus, h.ID)
	}
	return *r.Status, nil
}

// Wait implements drivers.Driver.
func (c *client) Wait(ctx context.Context, h drivers.Handle) (drivers.Exit, error) {
	r, err := c.do(ctx, request{Call: callWait, Handle: &h}, handling{})
	if err != nil {
		return drivers.Exit{}, err
	}
	if r.Exit == nil {
		return drivers.Exit{}, incomplete(callWait, h.ID)
	}
	return *r.Exit, nil
}

// Logs implements drivers.Driver.
func (c *client) Logs(ctx context.Context, h drivers.Handle, o drivers.LogOptions, sink func(drivers.LogEntry) error) error {
	_, err := c.do(ctx, request{Call: callLogs, Handle: &h, Logs: &logOptions{o.Follow, o.Tail, o.Since}}, handling{frame: func(f *output) error {
		if f.Log == nil {
			return nil
		}
		return sink(drivers.LogEntry{Time: f.Log.Time, Stream: f.Log.Stream, Data: f.Log.Data})
	}})
	return err
}

// List implements drivers.Driver.
func (c *client) List(ctx context.Context) ([]drivers.Handle, error) {
	var handles []drivers.Handle
	_, err := c.do(ctx, request{Call: callList}, handling{frame: func(f *output) error {
		if f.Handle != nil {
			handles = append(handles, *f.Handle)
		}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return handles, nil
}

// Stats implements drivers.StatsReader.
func (c *client) Stats(ctx context.Context, h drivers.Handle) (drivers.Stats, error) {
	r, err := c.do(ctx, request{Call: callStats, Handle: &h}, handling{})
	if err != nil {
		return drivers.Stats{}, err
	}
	if r.Stats == nil {
		return drivers.Stats{}, incomplete(callStats, h.ID)
	}
	return *r.Stats, nil
}

// Watch implements drivers.Watcher.
func (c *client) Watch(ctx context.Context, changed func()) error {
	_, err := c.do(ctx, request{Call: callWatch}, handling{frame: func(f *output) error {
		if f.Changed {
			changed()
		}
		return nil
	}})
	return err
}
