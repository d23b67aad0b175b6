package uplink

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/link"
)

// Leave connects to a parent only to say that this node will not come back. It
// is for a node whose agent does not run.
func Leave(ctx context.Context, parents []string, store *identity.Store, reason string, log *slog.Logger) error {
	var last error
	for _, addr := range parents {
		s, err := link.Dial(ctx, addr, link.Config{TLS: store.ClientTLS(identity.TLSOptions{}), Logger: log})
		if err != nil {
			last = err
			continue
		}
		err = leave(ctx, s, reason)
		s.Close(link.CodeShutdown, "done")
		return err
	}
	if last == nil {
		return link.Error(link.Invalid, "leave: no parent address is known")
	}
	return fmt.Errorf("leave: %w", last)
}
