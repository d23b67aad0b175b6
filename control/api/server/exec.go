package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/edgeio/edgeio/control/api"
)

const (
	execStartTimeout = 10 * time.Second // for the client to say what to run
	execPing         = 30 * time.Second // between signs of life
)

type execInput struct {
	JobRef
	Instance string `query:"instance" maxLength:"128" doc:"Which instance, if the job has several: its id, the beginning of it, or its index"`
}

func (s *service) registerExec(h huma.API) {
	o := op(huma.Operation{
		OperationID: "exec", Method: http.MethodGet, Path: "/jobs/{id}/exec", Tags: []string{"jobs"},
		Summary: "Run a further command in a job",
		Description: "A WebSocket with the subprotocol " + api.ExecSubprotocol + ". The client first sends an ExecStart as a text message. " +
			"All other messages are binary, at most 64 KiB, and their first byte says what the rest is. " +
			"From the client: 0 input; 1 the input is at its end; 2 a TermSize as JSON. " +
			"From the server: 3 standard output; 4 standard error; 5, the last one, an ExecEnd as JSON.",
		DefaultStatus: http.StatusSwitchingProtocols,
	})
	o.Responses["101"] = &huma.Response{Description: "The WebSocket is open"}
	huma.Register(h, o, func(ctx context.Context, in *execInput) (*huma.StreamResponse, error) {
		inst, err := s.instance(ctx, in.ID, in.Instance)
		if err != nil {
			return nil, s.fail(ctx, err)
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			r, w := humago.Unwrap(hc)
			s.exec(w, r, inst)
		}}, nil
	})
	for _, t := range execTypes {
		h.OpenAPI().Components.Schemas.Schema(t, true, "")
	}
}

func (s *service) exec(w http.ResponseWriter, r *http.Request, instance string) {
	if r.Header.Get("Upgrade") == "" {
		p := api.NewProblem(api.ErrInvalid)
		p.Status, p.Detail = http.StatusUpgradeRequired, "exec is a WebSocket"
		w.Header().Set("Upgrade", "websocket")
		writeProblem(w, p)
		return
	}
	rc := http.NewResponseController(w)
	// The connection is taken over: deadlines of a request no longer fit.
	_ = rc.SetWriteDeadline(time.Time{})
	_ = rc.SetReadDeadline(time.Time{})
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{api.ExecSubprotocol}})
	if err != nil {
		s.Log.Debug("exec: handshake", "err", err)
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(api.MaxExecMessage)
	ctx, cancel := streamContext(r)
	defer cancel()
	start, err := readExecStart(ctx, conn)
	if err != nil {
		s.endExec(ctx, conn, 0, err)
		return
	}
	s.runExec(ctx, cancel, conn, instance, start)
}

// runExec runs a command with the connection as its terminal.
func (s *service) runExec(ctx context.Context, cancel context.CancelFunc, conn *websocket.Conn, instance string, start api.ExecStart) {
	stdin, feed := io.Pipe()
	sizes := make(chan api.TermSize, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel() // a client that is gone ends the command
		readExecInput(ctx, conn, feed, sizes)
	})
	wg.Go(func() {
		defer cancel()
		pingExec(ctx, conn)
	})
	code, err := s.Instances.Exec(ctx, instance, ExecOptions{
		Command: start.Command, Env: start.Env, TTY: start.TTY, Size: start.Size, Resize: sizes,
		Stdin:  stdin,
		Stdout: &execWriter{ctx, conn, api.ExecStdout},
		Stderr: &execWriter{ctx, conn, api.ExecStderr},
	})
	_ = stdin.CloseWithError(io.ErrClosedPipe) // never fails
	// To cancel a read closes the connection: the end must be told before.
	s.endExec(ctx, conn, code, err)
	cancel()
	wg.Wait()
}

// endExec tells the client how the command ended, if it is still there.
func (s *service) endExec(ctx context.Context, conn *websocket.Conn, code int, err error) {
	end := api.ExecEnd{Code: code}
	if err != nil {
		if ctx.Err() != nil {
			err = classError{api.ErrUnavailable, "the server stops, and with it this command's connection"}
		}
		end = api.ExecEnd{Problem: s.problemOf(ctx, err)}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	b, _ := json.Marshal(end) // a struct of strings and numbers
	if conn.Write(last, websocket.MessageBinary, append([]byte{api.ExecResult}, b...)) == nil {
		_ = conn.Close(websocket.StatusNormalClosure, "") // the client may have closed it already
	}
}

func readExecStart(ctx context.Context, conn *websocket.Conn) (api.ExecStart, error) {
	ctx, cancel := context.WithTimeout(ctx, execStartTimeout)
	defer cancel()
	var start api.ExecStart
	kind, msg, err := conn.Read(ctx)
	switch {
	case err != nil:
		return start, classError{api.ErrInvalid, "the first message must say what to run"}
	case kind != websocket.MessageText || json.Unmarshal(msg, &start) != nil:
		return start, classError{api.ErrInvalid, "the first message must be a text message with an ExecStart as JSON"}
	case len(start.Command) == 0 || start.Command[0] == "":
		return start, classError{api.ErrInvalid, "no command"}
	}
	return start, nil
}

// readExecInput passes on what the client sends until the connection or ctx ends.
func readExecInput(ctx context.Context, conn *websocket.Conn, feed *io.PipeWriter, sizes chan api.TermSize) {
	defer feed.Close()
	for {
		kind, msg, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if kind != websocket.MessageBinary || len(msg) == 0 {
			continue
		}
		switch msg[0] {
		case api.ExecStdin:
			_, _ = feed.Write(msg[1:]) // a command that no longer reads: input is dropped
		case api.ExecEOF:
			feed.Close()
		case api.ExecResize:
			var size api.TermSize
			if json.Unmarshal(msg[1:], &size) == nil {
				latest(sizes, size)
			}
		}
	}
}

// latest puts v into a channel of capacity 1, in place of what was not taken.
// It has one caller at a time.
func latest[T any](c chan T, v T) {
	select {
	case <-c:
	default:
	}
	c <- v
}

// pingExec returns when the connection is lost or ctx ends. Only a ping that
// cannot be sent counts: the answer is not read while the command leaves its
// input waiting.
func pingExec(ctx context.Context, conn *websocket.Conn) {
	t := time.NewTicker(execPing)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		wait, cancel := context.WithTimeout(ctx, execPing)
		err := conn.Ping(wait)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return
		}
	}
}

// execWriter sends output of one kind. It is not used concurrently for one
// kind; of different kinds it may.
type execWriter struct {
	ctx  context.Context // of the command: a writer has no other way to get it
	conn *websocket.Conn
	kind byte
}

// Write sends b in messages of bounded size.
func (w *execWriter) Write(b []byte) (int, error) {
	sent := 0
	for sent < len(b) {
		part := b[sent:min(len(b), sent+api.MaxExecMessage-1)]
		ctx, cancel := context.WithTimeout(w.ctx, writeTimeout)
		err := w.conn.Write(ctx, websocket.MessageBinary, append([]byte{w.kind}, part...))
		cancel()
		if err != nil {
			return sent, fmt.Errorf("send output: %w", err)
		}
		sent += len(part)
	}
	return sent, nil
}
