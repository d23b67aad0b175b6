package pki

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/edgeio/edgeio/proto/identity"
)

// JoinToken is what is stored of a join token: never its secret.
type JoinToken struct {
	ID         string        `json:"id"`
	SecretHash []byte        `json:"secretHash"`
	Kind       identity.Kind `json:"kind"`              // of who may join with it
	Cluster    string        `json:"cluster,omitempty"` // id of the cluster where to join; empty: anywhere
	Created    time.Time     `json:"created"`
	Expires    time.Time     `json:"expires"`
	MaxUses    int           `json:"maxUses"`
	Subjects   []string      `json:"subjects,omitempty"` // ids of the keys that have used it
	Revoked    bool          `json:"revoked,omitempty"`
}

// Limits of join tokens.
const (
	MaxJoinTTL  = 30 * 24 * time.Hour
	MaxJoinUses = 10_000
)

// Why a join token is refused. ErrTokenUnknown also stands for a wrong secret,
// so that ids cannot be probed.
var (
	ErrTokenUnknown = errors.New("the join token is not known here: it may have been removed, or belong to another installation")
	ErrTokenRevoked = errors.New("the join token has been revoked: ask for a new one")
	ErrTokenExpired = errors.New("the join token has expired: ask for a new one")
	ErrTokenUsed    = errors.New("the join token has been used up: ask for a new one")
	ErrTokenKind    = errors.New("the join token is for another purpose")
)

// NewJoinToken makes a token for processes of that kind. Give the token to the
// user, who sees it only once, and store the record under its ID.
func NewJoinToken(pin identity.Pin, kind identity.Kind, cluster string, ttl time.Duration, maxUses int, now time.Time) (identity.Token, JoinToken, error) {
	var problems []error
	if kind != identity.Cluster && kind != identity.Node {
		problems = append(problems, fmt.Errorf("kind is %q: use cluster or node", kind))
	}
	if cluster != "" && kind != identity.Node {
		problems = append(problems, errors.New("only a node joins at a cluster"))
	}
	if ttl <= 0 || ttl > MaxJoinTTL {
		problems = append(problems, fmt.Errorf("it would be valid for %s: use more than 0 and at most %s", ttl, MaxJoinTTL))
	}
	if maxUses < 1 || maxUses > MaxJoinUses {
		problems = append(problems, fmt.Errorf("it could be used %d times: use 1 to %d", maxUses, MaxJoinUses))
	}
	if err := errors.Join(problems...); err != nil {
		return identity.Token{}, JoinToken{}, fmt.Errorf("create join token: %w", err)
	}
	token := identity.NewToken(pin)
	hash := token.SecretHash()
	return token, JoinToken{
		ID: token.ID(), SecretHash: hash[:], Kind: kind, Cluster: cluster,
		Created: now, Expires: now.Add(ttl), MaxUses: maxUses,
	}, nil
}

// Redemption is the wish to join with a token.
type Redemption struct {
	Token   identity.Token
	Kind    identity.Kind // of who wants to join
	Cluster string        // id of the cluster where it wants to; empty: at the root
	Subject string        // its id
	Time    time.Time
}

// Redeem decides on r by the stored record, and returns the record to store in
// its place. It is pure: call it inside the transaction that reads and writes
// the record, or two could share a token that is good for one. Redeeming again
// for the same subject, as after a lost answer, changes nothing and is allowed
// as long as the token is valid.
func (t JoinToken) Redeem(r Redemption) (JoinToken, error) {
	known := slices.Contains(t.Subjects, r.Subject)
	switch {
	case t.ID != r.Token.ID() || !r.Token.SecretMatches(t.SecretHash):
		return t, ErrTokenUnknown
	case t.Revoked:
		return t, ErrTokenRevoked
	case !r.Time.Before(t.Expires):
		return t, fmt.Errorf("%w (it was valid until %s)", ErrTokenExpired, t.Expires.UTC().Format(time.RFC3339))
	case t.Kind != r.Kind:
		return t, fmt.Errorf("%w: it is for a %s, not for a %s", ErrTokenKind, t.Kind, r.Kind)
	case t.Cluster != "" && t.Cluster != r.Cluster:
		return t, fmt.Errorf("%w: it is for nodes of cluster %s", ErrTokenKind, t.Cluster)
	case r.Subject == "":
		return t, errors.New("redeem join token: no subject")
	case known:
		return t, nil
	case len(t.Subjects) >= t.MaxUses:
		return t, ErrTokenUsed
	}
	t.Subjects = append(slices.Clone(t.Subjects), r.Subject)
	return t, nil
}

// Revoke returns the record of a token that nobody can join with any more.
func (t JoinToken) Revoke() JoinToken {
	t.Revoked = true
	return t
}
