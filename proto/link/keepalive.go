package link

import (
	"bytes"
	"context"
	"time"
)

// aliveBytes is the size of a keep-alive. QUIC's own, a PING, is too small for
// an end that was started again to answer it with a stateless reset (quic-go
// wants more than 42 bytes, of which 23 are header and tag), so that a child
// with nothing to say would notice the restart only by its idle timeout.
const aliveBytes = 24

// alive is not a message in any encoding of protobuf: field 0 does not exist.
var alive [aliveBytes]byte

func isAlive(datagram []byte) bool { return bytes.Equal(datagram, alive[:]) }

// keepAlive sends a keep-alive each period until the session ends.
func (s *Session) keepAlive(ctx context.Context, period time.Duration) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			// Without datagrams there is still QUIC's own.
			_ = s.conn.SendDatagram(alive[:])
		}
	}
}
