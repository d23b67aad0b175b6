package root

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/control/orchestrator"
	"github.com/edgeio/edgeio/control/scheduler"
	"github.com/edgeio/edgeio/control/store"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/identity/identitytest"
	"github.com/edgeio/edgeio/proto/link"
)

// newTokens is the tokens' part of a backend over a store in memory.
func newTokens(t *testing.T) tokens {
	t.Helper()
	st := store.Memory()
	core, err := orchestrator.New(t.Context(), orchestrator.Config{
		Tier: orchestrator.Root, ID: "r", Name: "root", Store: st, Strategy: scheduler.FirstFit, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return tokens{store: st, core: core, pin: identitytest.NewAuthority(t, time.Now()).Pin(), addresses: []string{"root.example:7443"}}
}

func TestAPITokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tk, ctx := newTokens(t), t.Context()
		forever, err := tk.CreateAPIToken(ctx, api.NewAPIToken{Name: "ci"})
		if err != nil {
			t.Fatal(err)
		}
		brief, err := tk.CreateAPIToken(ctx, api.NewAPIToken{Name: "brief", TTLSeconds: 60})
		if err != nil {
			t.Fatal(err)
		}
		who, err := tk.Authenticate(ctx, forever.Token)
		if err != nil || who.Name != "ci" || who.Role != api.RoleAdmin || who.TokenID != forever.ID {
			t.Errorf("identity %+v, %v", who, err)
		}
		time.Sleep(2 * time.Minute)
		if err := tk.RevokeAPIToken(ctx, forever.ID); err != nil {
			t.Fatal(err)
		}
		for name, token := range map[string]string{
			"expired": brief.Token, "revoked": forever.Token, "empty": "", "garbage": "edgeio_nonsense", "cut": forever.Token[:len(forever.Token)-1],
		} {
			if _, err := tk.Authenticate(ctx, token); !errors.Is(err, api.ErrUnauthenticated) {
				t.Errorf("%s token: %v", name, err)
			}
		}
		if err := tk.RevokeAPIToken(ctx, forever.ID); err != nil {
			t.Errorf("revoke again: %v", err)
		}
		if err := tk.RevokeAPIToken(ctx, "nosuch"); !errors.Is(err, link.NotFound) {
			t.Errorf("revoke an unknown token: %v", err)
		}
		if all, err := tk.APITokens(ctx); err != nil || len(all) != 1 || all[0].Name != "brief" {
			t.Errorf("tokens: %+v, %v", all, err)
		}
	})
}

func TestJoinTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tk, ctx := newTokens(t), t.Context()
		create := func(n api.NewJoinToken) api.CreatedJoinToken {
			t.Helper()
			if n.TTLSeconds == 0 {
				n.TTLSeconds = 3600
			}
			created, err := tk.CreateJoinToken(ctx, n)
			if err != nil {
				t.Fatal(err)
			}
			return created
		}
		once := create(api.NewJoinToken{Kind: api.JoinNode})
		many := 0
		unlimited := create(api.NewJoinToken{Kind: api.JoinCluster, Uses: &many})
		brief := create(api.NewJoinToken{Kind: api.JoinNode, TTLSeconds: 60})
		revoked := create(api.NewJoinToken{Kind: api.JoinNode})
		if err := tk.RevokeJoinToken(ctx, revoked.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		for _, tt := range []struct {
			name, token, subject string
			kind                 identity.Kind
			ok                   bool
		}{
			{"first use", once.Token, "n-1", identity.Node, true},
			{"again, after a lost answer", once.Token, "n-1", identity.Node, true},
			{"a clone", once.Token, "n-2", identity.Node, false},
			{"any number of times", unlimited.Token, "c-1", identity.Cluster, true},
			{"any number of times, again", unlimited.Token, "c-2", identity.Cluster, true},
			{"for another purpose", unlimited.Token, "n-3", identity.Node, false},
			{"expired", brief.Token, "n-4", identity.Node, false},
			{"revoked", revoked.Token, "n-5", identity.Node, false},
			{"no token", "", "n-6", identity.Node, false},
		} {
			err := tk.redeem(ctx, tt.token, tt.kind, tt.subject, "")
			if tt.ok && err != nil || !tt.ok && !errors.Is(err, link.Denied) {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		all, err := tk.JoinTokens(ctx)
		if err != nil || len(all) != 3 {
			t.Fatalf("tokens: %+v, %v", all, err)
		}
		for _, j := range all {
			if j.ID == unlimited.ID && (j.Uses != 0 || j.Used != 2) {
				t.Errorf("unlimited token: %+v", j)
			}
		}
		if _, err := tk.CreateJoinToken(ctx, api.NewJoinToken{Kind: api.JoinNode, Cluster: "nosuch", TTLSeconds: 60}); !errors.Is(err, api.ErrNotFound) {
			t.Errorf("token for an unknown cluster: %v", err)
		}
	})
}

// brokenStore is one on a full disk.
type brokenStore struct{ store.Store }

func (brokenStore) Update(context.Context, func(store.Tx) error) error {
	return errors.New("no space left on device")
}

func TestABrokenStoreIsNotABadToken(t *testing.T) {
	tk := newTokens(t)
	created, err := tk.CreateJoinToken(t.Context(), api.NewJoinToken{Kind: api.JoinNode, TTLSeconds: 60})
	if err != nil {
		t.Fatal(err)
	}
	tk.store = brokenStore{tk.store}
	if err := tk.redeem(t.Context(), created.Token, identity.Node, "n-1", ""); !errors.Is(err, link.Unavailable) {
		t.Errorf("redeem on a full disk: %v", err)
	}
}
