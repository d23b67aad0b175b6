package link

import (
	"context"
	"errors"
	"io"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"
	"storj.io/drpc/drpcmanager"
	"storj.io/drpc/drpcwire"
)

// callConn makes each call on a new stream.
type callConn struct{ s *Session }

var _ drpc.Conn = callConn{}

func (c callConn) Close() error {
	c.s.Close(CodeShutdown, "closed")
	return nil
}

func (c callConn) Closed() <-chan struct{} { return c.s.done }

// Invoke implements drpc.Conn.
func (c callConn) Invoke(ctx context.Context, rpc string, enc drpc.Encoding, in, out drpc.Message) error {
	st, man, err := c.open(ctx, rpc)
	if err != nil {
		return err
	}
	defer st.transport.delivered() // when nothing reads any more
	defer func() { _ = man.Close() }()
	defer func() { _ = st.Stream.Close() }()

	data, err := sized{enc, c.s.limits.messageBytes}.MarshalAppend(nil, in)
	if err != nil {
		return c.s.fromWire(ctx, rpc, err)
	}
	err = st.RawWrite(drpcwire.KindInvoke, []byte(rpc))
	if err == nil {
		err = st.RawWrite(drpcwire.KindMessage, data)
	}
	if err == nil {
		err = st.CloseSend()
	}
	// The peer may answer before it has all of the request. Then it is the answer
	// that counts, and not that the rest could not be written.
	received := st.Stream.MsgRecv(out, enc)
	if err == nil || received == nil || errors.Is(err, io.EOF) || Class(drpcerr.Code(received)).valid() {
		err = received
	}
	if errors.Is(err, io.EOF) {
		err = Error(Internal, "the peer ended the call without an answer")
	}
	return c.s.fromWire(ctx, rpc, err)
}

// NewStream implements drpc.Conn. The stream must be read to its end, closed,
// or its context cancelled.
func (c callConn) NewStream(ctx context.Context, rpc string, _ drpc.Encoding) (drpc.Stream, error) {
	st, man, err := c.open(ctx, rpc)
	if err != nil {
		return nil, err
	}
	if err := st.RawWrite(drpcwire.KindInvoke, []byte(rpc)); err != nil {
		_ = man.Close()
		st.transport.delivered()
		return nil, c.s.fromWire(ctx, rpc, err)
	}
	c.s.track(func() {
		select {
		case <-st.Finished():
		case <-man.Closed():
		}
		_ = man.Close()
		st.transport.delivered()
	})
	return st, nil
}

func (c callConn) open(ctx context.Context, rpc string) (*stream, *drpcmanager.Manager, error) {
	qs, err := c.s.conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, nil, c.s.fromWire(ctx, rpc, err)
	}
	t := newTransport(ctx, c.s, qs)
	man := t.manager()
	ds, err := man.NewClientStream(ctx, rpc)
	if err != nil {
		_ = man.Close()
		return nil, nil, c.s.fromWire(ctx, rpc, err)
	}
	return &stream{Stream: ds, transport: t, rpc: rpc}, man, nil
}
