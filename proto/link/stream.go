package link

import (
	"context"
	"errors"
	"sync"

	"github.com/quic-go/quic-go"
	"storj.io/drpc"
	"storj.io/drpc/drpcenc"
	"storj.io/drpc/drpcmanager"
	"storj.io/drpc/drpcstream"
	"storj.io/drpc/drpcwire"
)

// Stream error codes; informative only.
const (
	streamClosed  quic.StreamErrorCode = 0
	streamRefused quic.StreamErrorCode = 1 // over a limit
)

// transport is a QUIC stream as drpc wants it.
type transport struct {
	*quic.Stream
	session *Session
	ctx     context.Context // of the call

	mu      sync.Mutex // held while writing, and to close
	pending int64      // bytes read since the last whole message
	pendMu  sync.Mutex
}

func newTransport(ctx context.Context, s *Session, qs *quic.Stream) *transport {
	return &transport{Stream: qs, session: s, ctx: ctx}
}

// Read counts what it reads against the session's limit of unfinished messages.
func (t *transport) Read(p []byte) (int, error) {
	n, err := t.Stream.Read(p)
	t.pendMu.Lock()
	t.pending += int64(n)
	t.pendMu.Unlock()
	if total := t.session.buffered.Add(int64(n)); total > t.session.limits.bufferedBytes {
		return 0, Error(Exhausted, "unfinished messages of %s exceed %d bytes", t.session.peer, t.session.limits.bufferedBytes)
	}
	return n, err
}

// delivered tells that a message has been handed on.
func (t *transport) delivered() {
	t.pendMu.Lock()
	n := t.pending
	t.pending = 0
	t.pendMu.Unlock()
	t.session.buffered.Add(-n)
}

// Write succeeds also when the peer has ended the call and reads no more: why
// it did is in its answer, which a failed write would keep the caller from
// reading.
func (t *transport) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, err := t.Stream.Write(p)
	var stopped *quic.StreamError
	if errors.As(err, &stopped) && stopped.Remote && stopped.ErrorCode == streamClosed {
		return len(p), nil
	}
	return n, err
}

// Close ends both directions: regularly, so that what was written arrives, or
// by a reset if the call was cancelled or a write is stuck.
func (t *transport) Close() error {
	t.CancelRead(streamClosed)
	if t.ctx.Err() != nil || !t.mu.TryLock() {
		t.CancelWrite(streamClosed)
		return nil
	}
	defer t.mu.Unlock()
	return t.Stream.Close()
}

func (t *transport) manager() *drpcmanager.Manager {
	limit := t.session.limits.messageBytes
	return drpcmanager.NewWithOptions(t, drpcmanager.Options{
		WriterBufferSize:  1024,
		Reader:            drpcwire.ReaderOptions{MaximumBufferSize: limit},
		Stream:            drpcstream.Options{MaximumBufferSize: 64 << 10},
		InactivityTimeout: t.session.limits.firstCall,
	})
}

// stream adds limits and error classes to a drpc stream.
type stream struct {
	*drpcstream.Stream
	transport *transport
	rpc       string
}

func (st *stream) MsgSend(msg drpc.Message, enc drpc.Encoding) error {
	err := st.Stream.MsgSend(msg, sized{enc, st.transport.session.limits.messageBytes})
	return st.transport.session.fromWire(st.transport.ctx, st.rpc, err)
}

func (st *stream) MsgRecv(msg drpc.Message, enc drpc.Encoding) error {
	err := st.Stream.MsgRecv(msg, enc)
	st.transport.delivered()
	return st.transport.session.fromWire(st.transport.ctx, st.rpc, err)
}

// sized refuses to send what the peer would not take, with a clear error
// instead of a stream that ends.
type sized struct {
	drpc.Encoding
	max int
}

func (e sized) MarshalAppend(buf []byte, msg drpc.Message) ([]byte, error) {
	out, err := drpcenc.MarshalAppend(msg, e.Encoding, buf)
	if err != nil {
		return nil, err
	}
	if n := len(out) - len(buf); n > e.max {
		return nil, Error(Exhausted, "a message of %d bytes is larger than %d", n, e.max)
	}
	return out, nil
}
