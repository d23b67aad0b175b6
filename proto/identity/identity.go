// Package identity says who a process of edgeIO is: its key, its certificate,
// and whom it trusts.
//
// An identity is a key, not a hostname: the id of a process is derived from its
// public key, and the private key is made where it is used and never leaves it.
// The package owns the form of certificates and join tokens, the rules by which
// a chain is believed, the files in which a process keeps its own identity, and
// the TLS configurations of both ends of a link. It never issues a certificate
// by itself (control/pki does) and never opens a connection (proto/link does).
package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind is what a process is in the tree.
type Kind string

// The kinds.
const (
	Root    Kind = "root"
	Cluster Kind = "cluster"
	Node    Kind = "node"
)

// ParseKind returns the kind of that name.
func ParseKind(s string) (Kind, error) {
	switch k := Kind(s); k {
	case Root, Cluster, Node:
		return k, nil
	}
	return "", fmt.Errorf("unknown kind %q: use root, cluster or node", s)
}

// Peer is a process whose certificate has been verified. The zero Peer is
// anonymous: it has not enrolled.
type Peer struct {
	ID   string // derived from the key; unique
	Kind Kind
	Name string // for people; need not be unique
}

// Anonymous reports whether p has no certificate.
func (p Peer) Anonymous() bool { return p.ID == "" }

// String returns kind, name and id for messages.
func (p Peer) String() string {
	if p.Anonymous() {
		return "anonymous peer"
	}
	return fmt.Sprintf("%s %s (%s)", p.Kind, p.Name, p.ID)
}

// idLength is the number of base32 characters of an id: 100 bits of the hash.
const idLength = 20

var idEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// IDFromKey returns the id of the process that holds the private half of pub:
// "r-", "c-" or "n-" and 20 characters of base32.
func IDFromKey(kind Kind, pub crypto.PublicKey) (string, error) {
	if _, err := ParseKind(string(kind)); err != nil {
		return "", err
	}
	if err := checkPublicKey(pub); err != nil {
		return "", err
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("encode public key: %w", err)
	}
	sum := sha256.Sum256(spki)
	return string(kind[:1]) + "-" + strings.ToLower(idEncoding.EncodeToString(sum[:])[:idLength]), nil
}

// checkPublicKey refuses all but the one kind of key that is in use, so that a
// weak key never gets a certificate.
func checkPublicKey(pub crypto.PublicKey) error {
	key, ok := pub.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return errors.New("the key is not ECDSA P-256")
	}
	return nil
}

// maxName is the upper bound that X.520 sets for a common name.
const maxName = 64

// CheckName says whether name can stand in a certificate: 1 to 64 bytes of
// printable UTF-8.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case len(name) > maxName:
		return fmt.Errorf("the name %.20q… has %d bytes, more than %d", name, len(name), maxName)
	case !utf8.ValidString(name):
		return errors.New("the name is not valid UTF-8")
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("the name %q contains characters that do not print", name)
	}
	return nil
}

const (
	uriScheme     = "edgeio"
	uriClusterCA  = "cluster-ca"
	authorityName = "edgeIO authority"
)

func leafURI(kind Kind, id string) *url.URL {
	return &url.URL{Scheme: uriScheme, Host: string(kind), Path: "/" + id}
}

func clusterCAURI(clusterID string) *url.URL {
	return &url.URL{Scheme: uriScheme, Host: uriClusterCA, Path: "/" + clusterID}
}

// subject returns host and path of the one edgeio URI in cert.
func subject(cert *x509.Certificate) (host, id string, err error) {
	if len(cert.URIs) != 1 || cert.URIs[0].Scheme != uriScheme {
		return "", "", errors.New("the certificate is not one of edgeIO: it does not have exactly one edgeio:// name")
	}
	u := cert.URIs[0]
	return u.Host, strings.TrimPrefix(u.Path, "/"), nil
}

// PeerFromCertificate reads who a leaf certificate is for, and checks that the
// id in it belongs to its key. It does not check who signed it: Verify does.
func PeerFromCertificate(cert *x509.Certificate) (Peer, error) {
	host, id, err := subject(cert)
	if err != nil {
		return Peer{}, err
	}
	kind, err := ParseKind(host)
	if err != nil {
		return Peer{}, fmt.Errorf("the certificate of %q is not for a process: %w", cert.Subject.CommonName, err)
	}
	want, err := IDFromKey(kind, cert.PublicKey)
	if err != nil {
		return Peer{}, fmt.Errorf("certificate of %q: %w", cert.Subject.CommonName, err)
	}
	if id != want {
		return Peer{}, fmt.Errorf("the certificate of %q names %s, but its key is that of %s", cert.Subject.CommonName, id, want)
	}
	if err := CheckName(cert.Subject.CommonName); err != nil {
		return Peer{}, fmt.Errorf("certificate of %s: %w", id, err)
	}
	return Peer{ID: id, Kind: kind, Name: cert.Subject.CommonName}, nil
}
