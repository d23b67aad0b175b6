package root

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/control/api/server"
	"github.com/edgeio/edgeio/control/orchestrator"
	"github.com/edgeio/edgeio/control/pki"
	"github.com/edgeio/edgeio/control/store"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/link"
)

// tokens keeps the tokens of users and those with which clusters and nodes
// join, and decides by them. Only hashes are stored.
type tokens struct {
	store     store.Store
	core      *orchestrator.Core
	pin       identity.Pin
	addresses []string // where to join
}

var (
	_ server.Tokens        = tokens{}
	_ server.Authenticator = tokens{}
)

const (
	joinPrefix = "token/join/"
	apiPrefix  = "token/api/"
)

// redeem uses a join token up; see orchestrator.Authority.
func (t tokens) redeem(ctx context.Context, token string, kind identity.Kind, subject, cluster string) error {
	parsed, err := identity.ParseToken(token)
	if err != nil {
		return link.Error(link.Denied, "%w", err)
	}
	r := pki.Redemption{Token: parsed, Kind: kind, Cluster: cluster, Subject: subject, Time: time.Now()}
	err = t.store.Update(ctx, func(tx store.Tx) error {
		var record pki.JoinToken
		if err := get(tx, joinPrefix+parsed.ID(), &record); errors.Is(err, store.ErrNotFound) {
			return pki.ErrTokenUnknown
		} else if err != nil {
			return err
		}
		if record, err = record.Redeem(r); err != nil {
			return err
		}
		return put(tx, joinPrefix+record.ID, record)
	})
	for _, denied := range []error{pki.ErrTokenUnknown, pki.ErrTokenRevoked, pki.ErrTokenExpired, pki.ErrTokenUsed, pki.ErrTokenKind} {
		if errors.Is(err, denied) {
			return link.Error(link.Denied, "join: %w", err)
		}
	}
	if err != nil {
		return link.Error(link.Unavailable, "join: %w", err)
	}
	return nil
}

func (t tokens) CreateJoinToken(ctx context.Context, n api.NewJoinToken) (api.CreatedJoinToken, error) {
	cluster := ""
	if n.Cluster != "" {
		c, err := (fleet{t.core}).Cluster(ctx, n.Cluster)
		if err != nil {
			return api.CreatedJoinToken{}, err
		}
		cluster = c.ID
	}
	uses := 1
	if n.Uses != nil {
		uses = *n.Uses
	}
	if uses == 0 {
		uses = pki.MaxJoinUses
	}
	token, record, err := pki.NewJoinToken(t.pin, identity.Kind(n.Kind), cluster, time.Duration(n.TTLSeconds)*time.Second, uses, time.Now().UTC())
	if err != nil {
		return api.CreatedJoinToken{}, link.Error(link.Invalid, "%w", err)
	}
	err = t.store.Update(ctx, func(tx store.Tx) error { return put(tx, joinPrefix+record.ID, record) })
	if err != nil {
		return api.CreatedJoinToken{}, err
	}
	out := api.CreatedJoinToken{JoinToken: t.joinView(record), Token: token.String()}
	if cluster == "" {
		out.Addresses = t.addresses
	}
	return out, nil
}

func (t tokens) JoinTokens(ctx context.Context) ([]api.JoinToken, error) {
	out := []api.JoinToken{}
	err := scan(ctx, t.store, joinPrefix, func(r pki.JoinToken) {
		if !r.Revoked {
			out = append(out, t.joinView(r))
		}
	})
	slices.SortFunc(out, func(a, b api.JoinToken) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return out, err
}

func (t tokens) joinView(r pki.JoinToken) api.JoinToken {
	v := api.JoinToken{
		ID: r.ID, Kind: string(r.Kind), Cluster: r.Cluster, Uses: r.MaxUses, Used: len(r.Subjects),
		CreatedAt: r.Created, ExpiresAt: r.Expires,
	}
	if r.MaxUses == pki.MaxJoinUses {
		v.Uses = 0
	}
	for _, ch := range t.core.Children() {
		if ch.ID == r.Cluster {
			v.Cluster = ch.Name
		}
	}
	return v
}

func (t tokens) RevokeJoinToken(ctx context.Context, id string) error {
	return revoke(ctx, t.store, joinPrefix+id, "join token", id, pki.JoinToken.Revoke)
}

func (t tokens) CreateAPIToken(ctx context.Context, n api.NewAPIToken) (api.CreatedAPIToken, error) {
	role := pki.Role(n.Role)
	if role == "" {
		role = pki.Admin
	}
	token, record, err := pki.NewAPIToken(n.Name, role, time.Duration(n.TTLSeconds)*time.Second, time.Now().UTC())
	if err != nil {
		return api.CreatedAPIToken{}, link.Error(link.Invalid, "%w", err)
	}
	err = t.store.Update(ctx, func(tx store.Tx) error { return put(tx, apiPrefix+record.ID, record) })
	if err != nil {
		return api.CreatedAPIToken{}, err
	}
	return api.CreatedAPIToken{APIToken: apiView(record), Token: token}, nil
}

func (t tokens) APITokens(ctx context.Context) ([]api.APIToken, error) {
	out := []api.APIToken{}
	err := scan(ctx, t.store, apiPrefix, func(r pki.APIToken) {
		if !r.Revoked {
			out = append(out, apiView(r))
		}
	})
	slices.SortFunc(out, func(a, b api.APIToken) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return out, err
}

func apiView(r pki.APIToken) api.APIToken {
	return api.APIToken{ID: r.ID, Name: r.Name, Role: string(r.Role), CreatedAt: r.Created, ExpiresAt: r.Expires}
}

func (t tokens) RevokeAPIToken(ctx context.Context, id string) error {
	return revoke(ctx, t.store, apiPrefix+id, "API token", id, func(r pki.APIToken) pki.APIToken {
		r.Revoked = true
		return r
	})
}

// Authenticate says whose token it is.
func (t tokens) Authenticate(ctx context.Context, token string) (server.Identity, error) {
	id, err := pki.APITokenID(token)
	if err != nil {
		return server.Identity{}, fmt.Errorf("%w: %w", api.ErrUnauthenticated, err)
	}
	var record pki.APIToken
	err = t.store.View(ctx, func(tx store.Tx) error { return get(tx, apiPrefix+id, &record) })
	if errors.Is(err, store.ErrNotFound) {
		err = pki.ErrAPITokenInvalid
	} else if err != nil {
		return server.Identity{}, err
	} else {
		err = record.Verify(token, time.Now())
	}
	if err != nil {
		return server.Identity{}, fmt.Errorf("%w: %w", api.ErrUnauthenticated, err)
	}
	return server.Identity{TokenID: record.ID, Name: record.Name, Role: string(record.Role)}, nil
}

func get(tx store.Tx, key string, to any) error {
	value, err := tx.Get(key)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(value, to); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	return nil
}

func put(tx store.Tx, key string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	return tx.Put(key, value)
}

func scan[T any](ctx context.Context, st store.Store, prefix string, yield func(T)) error {
	return st.View(ctx, func(tx store.Tx) error {
		return tx.Scan(prefix, func(key string, value []byte) error {
			var r T
			if err := json.Unmarshal(value, &r); err != nil {
				return fmt.Errorf("read %s: %w", key, err)
			}
			yield(r)
			return nil
		})
	})
}

func revoke[T any](ctx context.Context, st store.Store, key, noun, id string, change func(T) T) error {
	err := st.Update(ctx, func(tx store.Tx) error {
		var r T
		if err := get(tx, key, &r); err != nil {
			return err
		}
		return put(tx, key, change(r))
	})
	if errors.Is(err, store.ErrNotFound) {
		return link.Error(link.NotFound, "there is no %s %s", noun, id)
	}
	return err
}
