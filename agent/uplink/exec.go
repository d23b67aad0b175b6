package uplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/edgeio/edgeio/drivers"
	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/link"
)

// Exec implements edgeiov1.DRPCChildServer.
func (c *child) Exec(stream edgeiov1.DRPCChild_ExecStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil || len(start.GetCommand()) == 0 {
		return link.Error(link.Invalid, "exec: the first message must say which command to run")
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()

	input, feed := io.Pipe()
	sizes := make(chan drivers.TermSize, 1)
	if s := start.GetSize(); s != nil {
		sizes <- termSize(s)
	}
	out := &execOutput{stream: stream}
	o := drivers.ExecOptions{
		Command: start.GetCommand(), Env: start.GetEnv(), TTY: start.GetTty(), Size: sizes, Stdin: input,
		Stdout: execWriter{out, false}, Stderr: execWriter{out, true},
	}

	// The pump ends with the stream, at the latest when this handler returns;
	// the link resets the stream then, so it is not waited for here.
	go func() {
		if err := pumpInput(ctx, stream, feed, sizes); err != nil {
			cancel() // the caller is gone
		}
	}()
	code, err := c.u.cfg.Workloads.Exec(ctx, start.GetInstanceId(), o)
	_ = input.Close()
	if err != nil {
		return classified(fmt.Errorf("exec: %w", err))
	}
	return out.send(&edgeiov1.ExecOutput{Exited: true, ExitCode: int32(code)})
}

// pumpInput passes on what the caller types until the caller has no more. An
// error means that the caller is gone.
func pumpInput(ctx context.Context, stream edgeiov1.DRPCChild_ExecStream, feed *io.PipeWriter, sizes chan drivers.TermSize) error {
	for {
		in, err := stream.Recv()
		if err != nil {
			_ = feed.CloseWithError(io.EOF)
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if s := in.GetSize(); s != nil {
			select {
			case <-sizes: // a newer size replaces one that nobody has taken
			default:
			}
			select {
			case sizes <- termSize(s):
			case <-ctx.Done():
				return nil
			}
		}
		if len(in.GetStdin()) > 0 {
			// Nobody reads any more: the command has closed its input. What
			// else comes may be a size.
			_, _ = feed.Write(in.GetStdin())
		}
		if in.GetStdinEof() {
			_ = feed.Close()
		}
	}
}

func termSize(s *edgeiov1.TermSize) drivers.TermSize {
	return drivers.TermSize{Columns: uint16(s.GetColumns()), Rows: uint16(s.GetRows())}
}

// execOutput serializes the two outputs of a command onto the stream.
type execOutput struct {
	mu     sync.Mutex
	stream edgeiov1.DRPCChild_ExecStream
}

func (o *execOutput) send(m *edgeiov1.ExecOutput) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stream.Send(m)
}

type execWriter struct {
	out    *execOutput
	stderr bool
}

func (w execWriter) Write(p []byte) (int, error) {
	for sent := 0; sent < len(p); {
		part := p[sent:min(len(p), sent+maxChunk)]
		m := &edgeiov1.ExecOutput{Stdout: part}
		if w.stderr {
			m = &edgeiov1.ExecOutput{Stderr: part}
		}
		if err := w.out.send(m); err != nil {
			return sent, err
		}
		sent += len(part)
	}
	return len(p), nil
}
