package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"strings"
)

const (
	tokenPrefix = "edgeio1_"
	tokenIDLen  = 8
	secretLen   = 16
	tokenLen    = sha256.Size + tokenIDLen + secretLen + crc32.Size
)

// Token lets a process enrol once, or a number of times, and pins the
// authority's key, so that it also tells the process whom to trust.
// Formatting or logging a Token shows its id only; String returns all of it.
type Token struct {
	pin    Pin
	id     [tokenIDLen]byte
	secret [secretLen]byte
}

// NewToken makes a token for the authority with that pin.
func NewToken(pin Pin) Token {
	t := Token{pin: pin}
	_, _ = rand.Read(t.id[:]) // never fails: see crypto/rand
	_, _ = rand.Read(t.secret[:])
	return t
}

// ParseToken reads what String has written. White space around it is ignored.
// Its errors never contain the input.
func ParseToken(s string) (Token, error) {
	s = strings.TrimSpace(s)
	rest, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok {
		if s == "" {
			return Token{}, errors.New("the join token is empty")
		}
		return Token{}, fmt.Errorf("this is not a join token: it does not begin with %s", tokenPrefix)
	}
	want := base64.RawURLEncoding.EncodedLen(tokenLen)
	switch {
	case len(rest) < want:
		return Token{}, fmt.Errorf("the join token is cut off: it has %d of %d characters; copy all of it", len(s), want+len(tokenPrefix))
	case len(rest) > want:
		return Token{}, fmt.Errorf("the join token is too long: it has %d characters, not %d", len(s), want+len(tokenPrefix))
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil || len(raw) != tokenLen {
		return Token{}, errors.New("the join token contains a character that does not belong there; copy it again")
	}
	body, sum := raw[:tokenLen-crc32.Size], raw[tokenLen-crc32.Size:]
	if crc32.ChecksumIEEE(body) != binary.BigEndian.Uint32(sum) {
		return Token{}, errors.New("the join token is mistyped: its checksum is wrong; copy it again")
	}
	var t Token
	n := copy(t.pin[:], body)
	n += copy(t.id[:], body[n:])
	copy(t.secret[:], body[n:])
	return t, nil
}

// String returns the whole token, secret included, for the one who will use it.
func (t Token) String() string {
	raw := make([]byte, 0, tokenLen)
	raw = append(raw, t.pin[:]...)
	raw = append(raw, t.id[:]...)
	raw = append(raw, t.secret[:]...)
	raw = binary.BigEndian.AppendUint32(raw, crc32.ChecksumIEEE(raw))
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(raw)
}

// Pin is that of the authority that the token belongs to.
func (t Token) Pin() Pin { return t.pin }

// ID names the token; it is no secret.
func (t Token) ID() string { return hex.EncodeToString(t.id[:]) }

// SecretHash returns what the issuer stores in place of the secret. The secret
// has 128 random bits, so a plain hash of it cannot be guessed.
func (t Token) SecretHash() [sha256.Size]byte { return sha256.Sum256(t.secret[:]) }

// SecretMatches compares in constant time.
func (t Token) SecretMatches(hash []byte) bool {
	sum := t.SecretHash()
	return subtle.ConstantTimeCompare(sum[:], hash) == 1
}

// LogValue implements slog.LogValuer.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.redacted()) }

// Format implements fmt.Formatter; no verb shows the secret.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.redacted()) }

func (t Token) redacted() string { return "join token " + t.ID() }
