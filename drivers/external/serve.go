package external

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

// The environment that the agent gives a driver program.
const (
	// EnvSocket is the path where the program listens.
	EnvSocket = "EDGEDRIVER_SOCKET"
	// EnvDir is a folder for the program's state; it is there.
	EnvDir = "EDGEDRIVER_DIR"
	// EnvAgent is the agent's id, for marking its workloads in a runtime that
	// several agents share.
	EnvAgent = "EDGEDRIVER_AGENT"
)

const (
	// probeFirst bounds the Probe that a handshake may have to wait for.
	probeFirst = 5 * time.Second
	// lastWords is for answers to calls that the end of the program cancels.
	lastWords = time.Second
	// exitGrace is for calls to return when the program ends. A driver that does
	// not obey must not outlive the agent.
	exitGrace = 4 * time.Second
)

// Serve makes a driver a driver program: it answers the agent that has started
// this process, until ctx ends or the agent is gone, which standard input
// tells. It waits for its calls, but not for long: the program exits when Serve
// returns. If d is an io.Closer, it closes it. Workloads go on.
func Serve(ctx context.Context, d drivers.Driver) error {
	path := os.Getenv(EnvSocket)
	if path == "" {
		return fmt.Errorf("this is a driver program for edgeagent, which starts it by itself: %s is not set", EnvSocket)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("listen for the agent: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		// This read is not waited for: nothing can interrupt it, and the
		// process is about to end.
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	err = serve(ctx, d, l)
	if c, ok := d.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}

// serve answers calls on l, which it closes, until ctx ends.
func serve(ctx context.Context, d drivers.Driver, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &server{driver: d, name: sync.OnceValue(func() hello { return introduce(ctx, d) })}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	var calls sync.WaitGroup
	var err error
	for pause := time.Millisecond; ; {
		var conn net.Conn
		if conn, err = l.Accept(); err == nil {
			pause = time.Millisecond
			calls.Go(func() { s.answer(ctx, conn) })
			continue
		}
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			break
		}
		// Too many open files, most likely: some will be closed.
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, time.Second)
	}
	stopped := ctx.Err() != nil
	cancel()
	stop()
	_ = l.Close() // closed already, if it was stopped
	ended := make(chan struct{})
	go func() { defer close(ended); calls.Wait() }()
	late := time.NewTimer(exitGrace)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
		return fmt.Errorf("calls of the driver go on %v after they were cancelled", exitGrace)
	}
	if stopped {
		return nil
	}
	return fmt.Errorf("listen for the agent: %w", err)
}

func introduce(ctx context.Context, d drivers.Driver) hello {
	ctx, cancel := context.WithTimeout(ctx, probeFirst)
	defer cancel()
	info := d.Probe(ctx)
	return hello{Protocol: Protocol, Name: info.Name, Features: append([]drivers.Feature{}, info.Features...)}
}

type server struct {
	driver drivers.Driver
	name   func() hello
}

// answer does the one call of a connection.
func (s *server) answer(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	// When the program ends, it waits neither for who asks nothing nor for who
	// does not listen.
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetReadDeadline(time.Now())
		_ = conn.SetWriteDeadline(time.Now().Add(lastWords))
	})
	r := bufio.NewReader(conn)
	var req request
	err := readFrame(r, &req)
	if err != nil {
		stop()
		if errors.Is(err, errMalformed) {
			a := &answer{conn: conn}
			_ = a.send(output{Error: toWire(fmt.Errorf("%w: %w", drivers.ErrInvalid, err))})
		}
		return
	}
	a := &answer{conn: conn, stdin: make(chan []byte, 1), sizes: make(chan drivers.TermSize, 1)}
	ctx, cancel := withTimeout(ctx, req.Timeout)
	defer cancel()
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		defer cancel() // also if the agent is gone
		a.listen(r)
	}()

	res, err := s.call(ctx, req, a)
	last := output{Result: &res}
	if err != nil {
		last = output{Error: toWire(err)}
	}
	// A result that cannot be encoded, or is too large, is an error that can. If
	// that fails, too, nobody is there to be told: the agent has hung up.
	if err := a.send(last); err != nil {
		_ = a.send(output{Error: toWire(err)})
	}
	stop()
	_ = conn.SetReadDeadline(time.Now())
	<-listening
}

func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// answer is the driver's side of a call under way.
type answer struct {
	conn  net.Conn
	mu    sync.Mutex // one frame at a time
	stdin chan []byte
	sizes chan drivers.TermSize
}

func (a *answer) send(f output) error {
	b, err := encode(f)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err = a.conn.Write(b)
	return err
}

// listen reads what the agent says after the request, until it cancels or
// hangs up. It never blocks on the call.
func (a *answer) listen(r *bufio.Reader) {
	defer close(a.stdin)
	ended := false
	for {
		var in input
		if readFrame(r, &in) != nil || in.Cancel {
			return
		}
		switch {
		case in.Size != nil:
			// Only the newest size counts.
			select {
			case <-a.sizes:
			default:
			}
			a.sizes <- drivers.TermSize{Columns: in.Size.Columns, Rows: in.Size.Rows}
		case ended:
		case in.StdinEnd:
			ended = true
			a.push(nil)
		case in.Stdin != nil:
			a.push(*in.Stdin)
		}
	}
}

// push hands a piece of input on. One that comes before the last was taken
// breaks the protocol and is dropped. nil is the end.
func (a *answer) push(b []byte) {
	select {
	case a.stdin <- b:
	default:
	}
}

// stdin is an answer as the input of a command.
type stdin struct {
	a    *answer
	done <-chan struct{} // the call is over
	rest []byte
	err  error
}

func (s *stdin) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		select {
		case b, ok := <-s.a.stdin:
			switch {
			case !ok:
				s.err = io.ErrUnexpectedEOF
			case b == nil:
				s.err = io.EOF
			default:
				s.rest = b
			}
		case <-s.done:
			s.err = io.ErrUnexpectedEOF
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	if len(s.rest) == 0 && s.err == nil {
		if err := s.a.send(output{StdinTaken: true}); err != nil {
			s.err = err
		}
	}
	return n, nil
}

// stream is an output of a command.
type stream struct {
	a     *answer
	frame func(b []byte) output
}

func (s stream) Write(p []byte) (int, error) {
	n := 0
	for piece := range slices.Chunk(p, maxChunk) {
		if err := s.a.send(s.frame(piece)); err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}
