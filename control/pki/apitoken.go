package pki

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Role is what a user may do.
type Role string

// The roles.
const (
	Admin    Role = "admin"
	Operator Role = "operator"
	Viewer   Role = "viewer"
)

// ErrRole is in the chain of errors about a role that cannot be given.
var ErrRole = errors.New("unknown role")

const (
	apiPrefix    = "edgeio_"
	apiSecretLen = 32
	apiIDLen     = 8 // bytes of the hash that name a token
)

// APIToken is what is stored of a user's token: never the token.
type APIToken struct {
	ID      string    `json:"id"` // begins the hash of the token, so it can be found by it
	Hash    []byte    `json:"hash"`
	Name    string    `json:"name"` // whose it is
	Role    Role      `json:"role"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Revoked bool      `json:"revoked,omitempty"`
}

// Why an API token is refused.
var (
	ErrAPITokenInvalid = errors.New("the API token is not valid: log in again with a good one")
	ErrAPITokenRevoked = errors.New("the API token has been revoked: ask for a new one")
	ErrAPITokenExpired = errors.New("the API token has expired: ask for a new one")
)

// NewAPIToken makes a token for a user; a ttl of 0 never expires. Only Admin
// can be given so far. Show the token to the user once, store the record under
// its ID.
func NewAPIToken(name string, role Role, ttl time.Duration, now time.Time) (token string, _ APIToken, err error) {
	if role != Admin {
		return "", APIToken{}, fmt.Errorf("create API token for %q: %w %q: use %s", name, ErrRole, role, Admin)
	}
	if ttl < 0 {
		return "", APIToken{}, fmt.Errorf("create API token for %q: it would have expired already", name)
	}
	secret := make([]byte, apiSecretLen)
	_, _ = rand.Read(secret) // never fails: see crypto/rand
	sum := sha256.Sum256(secret)
	record := APIToken{ID: hex.EncodeToString(sum[:apiIDLen]), Hash: sum[:], Name: name, Role: role, Created: now}
	if ttl > 0 {
		record.Expires = now.Add(ttl)
	}
	return apiPrefix + base64.RawURLEncoding.EncodeToString(secret), record, nil
}

// APITokenID returns the ID under which the record of token is stored. It fails
// for what cannot be a token.
func APITokenID(token string) (string, error) {
	sum, err := hashAPIToken(token)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(sum[:apiIDLen]), nil
}

func hashAPIToken(token string) ([sha256.Size]byte, error) {
	rest, ok := strings.CutPrefix(token, apiPrefix)
	if !ok || len(rest) != base64.RawURLEncoding.EncodedLen(apiSecretLen) {
		return [sha256.Size]byte{}, ErrAPITokenInvalid
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil || len(secret) != apiSecretLen {
		return [sha256.Size]byte{}, ErrAPITokenInvalid
	}
	return sha256.Sum256(secret), nil
}

// Verify decides whether token is the one of this record, and good at now.
func (t APIToken) Verify(token string, now time.Time) error {
	sum, err := hashAPIToken(token)
	switch {
	case err != nil:
		return err
	case subtle.ConstantTimeCompare(sum[:], t.Hash) != 1:
		return ErrAPITokenInvalid
	case t.Revoked:
		return ErrAPITokenRevoked
	case !t.Expires.IsZero() && !now.Before(t.Expires):
		return ErrAPITokenExpired
	}
	return nil
}
