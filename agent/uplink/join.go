package uplink

import (
	"context"
	"fmt"
	"log/slog"

	edgeiov1 "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/link"
)

// Enrol trades a join token for a certificate at the parent at addr, and keeps
// it in store. The parent must belong to the authority that the token pins;
// the private key stays here.
func Enrol(ctx context.Context, addr string, token identity.Token, name string, store *identity.Store, log *slog.Logger) (identity.Peer, error) {
	s, err := link.Dial(ctx, addr, link.Config{TLS: identity.EnrolTLS(token.Pin(), identity.TLSOptions{}), Logger: log})
	if err != nil {
		return identity.Peer{}, fmt.Errorf("join: %w", err)
	}
	defer s.Close(link.CodeShutdown, "done")
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	csr, err := store.CSR(name)
	if err != nil {
		return identity.Peer{}, fmt.Errorf("join: %w", err)
	}
	resp, err := edgeiov1.NewDRPCEnrolmentClient(s.Conn()).Enrol(ctx, &edgeiov1.EnrolRequest{
		Token: token.String(), Name: name, Kind: string(identity.Node), Csr: csr,
	})
	if err != nil {
		return identity.Peer{}, fmt.Errorf("join at %s: %w", addr, err)
	}
	if err := store.Enrol(token.Pin(), resp.GetChain(), nil); err != nil {
		return identity.Peer{}, fmt.Errorf("join at %s: %w", addr, err)
	}
	return store.Peer(), nil
}

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
