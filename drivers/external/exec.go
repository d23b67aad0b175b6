package external

import (
	"context"
	"io"
	"sync"

	"github.com/edgeio/edgeio/drivers"
)

// Exec implements drivers.Execer. A Read of o.Stdin that blocks when the
// command ends is not waited for.
func (c *client) Exec(ctx context.Context, h drivers.Handle, o drivers.ExecOptions) (int, error) {
	taken, done := make(chan struct{}, 1), make(chan struct{})
	var sizes sync.WaitGroup
	defer sizes.Wait()
	defer close(done)
	r, err := c.do(ctx, request{
		Call: callExec, Handle: &h,
		Exec: &execOptions{Command: toTexts(o.Command), Env: toPairs(o.Env), TTY: o.TTY, Stdin: o.Stdin != nil},
	}, handling{
		grace: cancelGrace,
		begun: func(x *exchange) {
			if o.Stdin != nil {
				go pumpStdin(x, o.Stdin, taken, done)
			}
			if o.Size != nil {
				sizes.Go(func() { pumpSizes(x, o.Size, done) })
			}
		},
		frame: func(f *output) error {
			switch {
			case f.Stdout != nil:
				return write(o.Stdout, *f.Stdout)
			case f.Stderr != nil:
				return write(o.Stderr, *f.Stderr)
			case f.StdinTaken:
				select {
				case taken <- struct{}{}:
				default: // nobody asked
				}
			}
			return nil
		},
	})
	if err != nil {
		return 0, err
	}
	if r.Code == nil {
		return 0, incomplete(callExec, h.ID)
	}
	return *r.Code, nil
}

func write(w io.Writer, b []byte) error {
	if w == nil {
		return nil
	}
	_, err := w.Write(b)
	return err
}

// pumpStdin sends input, the next piece when the one before is taken: frames
// for a command that does not read must not hold up those behind them.
func pumpStdin(x *exchange, in io.Reader, taken, done <-chan struct{}) {
	buf := make([]byte, maxChunk)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			piece := buf[:n]
			if x.send(input{Stdin: &piece}) != nil {
				return
			}
			select {
			case <-taken:
			case <-done:
				return
			}
		}
		if err != nil {
			_ = x.send(input{StdinEnd: true}) // the exchange may be over
			return
		}
	}
}

func pumpSizes(x *exchange, sizes <-chan drivers.TermSize, done <-chan struct{}) {
	for {
		select {
		case s, ok := <-sizes:
			if !ok || x.send(input{Size: &termSize{s.Columns, s.Rows}}) != nil {
				return
			}
		case <-done:
			return
		}
	}
}
