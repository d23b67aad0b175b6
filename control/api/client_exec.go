package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/coder/websocket"
)

// ExecRequest is a command to run in an instance and how it is wired.
type ExecRequest struct {
	ExecStart
	Instance string          // id or index; empty: the only one
	Resize   <-chan TermSize // nil: never
	Stdin    io.Reader       // nil: no input
	Stdout   io.Writer
	Stderr   io.Writer
}

// Exec runs a command in a running job and returns its exit code. A read of
// Stdin that blocks when the command has ended is left behind, for most
// readers cannot be interrupted: its goroutine ends when that read does.
func (c *Client) Exec(ctx context.Context, ref string, r ExecRequest) (int, error) {
	conn, err := c.dialExec(ctx, ref, r.Instance)
	if err != nil {
		return 0, err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(MaxExecMessage + 1)
	start, err := json.Marshal(r.ExecStart)
	if err != nil {
		return 0, fmt.Errorf("encode command: %w", err)
	}
	if err := conn.Write(ctx, websocket.MessageText, start); err != nil {
		return 0, lostExec(ctx, err)
	}
	input, cancel := context.WithCancel(ctx)
	defer cancel()
	go sendInput(input, conn, r.Stdin)
	resized := make(chan struct{})
	go func() {
		defer close(resized)
		sendSizes(input, conn, r.Resize)
	}()
	defer func() { cancel(); <-resized }()
	return receiveOutput(ctx, conn, r.Stdout, r.Stderr)
}

func (c *Client) dialExec(ctx context.Context, ref, instance string) (*websocket.Conn, error) {
	r := request{path: jobPath(ref) + "/exec", query: url.Values{}}
	if instance != "" {
		r.query.Set("instance", instance)
	}
	h := http.Header{}
	c.authorize(h)
	var errs []error
	for n, base := range c.bases {
		conn, resp, err := websocket.Dial(ctx, c.url(base, r), &websocket.DialOptions{
			HTTPClient: c.http, HTTPHeader: h, Subprotocols: []string{ExecSubprotocol},
		})
		if err == nil {
			c.good.Store(int64(n))
			return conn, nil
		}
		if resp != nil && resp.StatusCode >= 400 {
			return nil, problemOf(resp)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		errs = append(errs, fmt.Errorf("%s: %w", base.Host, plain(err)))
	}
	return nil, fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(errs...))
}

// sendInput copies stdin until its end, or until ctx is done.
func sendInput(ctx context.Context, conn *websocket.Conn, stdin io.Reader) {
	buf := make([]byte, 16<<10)
	for stdin != nil {
		n, err := stdin.Read(buf[1:])
		if n > 0 {
			buf[0] = ExecStdin
			if conn.Write(ctx, websocket.MessageBinary, buf[:n+1]) != nil {
				return
			}
		}
		if err != nil {
			break
		}
	}
	_ = conn.Write(ctx, websocket.MessageBinary, []byte{ExecEOF}) // a lost connection shows in the output's loop
}

func sendSizes(ctx context.Context, conn *websocket.Conn, sizes <-chan TermSize) {
	for {
		select {
		case <-ctx.Done():
			return
		case s, ok := <-sizes:
			if !ok {
				return
			}
			b, err := json.Marshal(s)
			if err != nil || conn.Write(ctx, websocket.MessageBinary, append([]byte{ExecResize}, b...)) != nil {
				return
			}
		}
	}
}

// receiveOutput copies output until the command has ended.
func receiveOutput(ctx context.Context, conn *websocket.Conn, stdout, stderr io.Writer) (int, error) {
	for {
		kind, msg, err := conn.Read(ctx)
		if err != nil {
			return 0, lostExec(ctx, err)
		}
		if kind != websocket.MessageBinary || len(msg) == 0 {
			continue
		}
		switch msg[0] {
		case ExecStdout:
			_, err = stdout.Write(msg[1:])
		case ExecStderr:
			_, err = stderr.Write(msg[1:])
		case ExecResult:
			var end ExecEnd
			if err := json.Unmarshal(msg[1:], &end); err != nil {
				return 0, fmt.Errorf("%w: end of exec: %w", ErrInternal, err)
			}
			if end.Problem != nil {
				return 0, end.Problem
			}
			return end.Code, nil
		}
		if err != nil {
			return 0, fmt.Errorf("write output: %w", err)
		}
	}
}

func lostExec(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: the connection was lost while the command ran: %w", ErrUnavailable, err)
}
