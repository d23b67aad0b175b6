// Package identitytest makes identities for tests: an authority in memory that
// signs without asking. It never appears in a program.
package identitytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"github.com/edgeio/edgeio/proto/identity"
)

// Authority signs whatever it is asked to.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes an authority of which the certificate begins at now.
func NewAuthority(tb testing.TB, now time.Time) *Authority {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(tb, err)
	template, err := identity.AuthorityTemplate(&key.PublicKey, now)
	check(tb, err)
	return &Authority{Certificate: sign(tb, template, template, &key.PublicKey, key), key: key}
}

// Pin returns the pin of the authority.
func (a *Authority) Pin() identity.Pin { return identity.PinOf(a.Certificate) }

// Enrol returns a store in a temporary folder with a certificate of that kind
// issued at now; that of a cluster has an intermediate as well.
func (a *Authority) Enrol(tb testing.TB, kind identity.Kind, name string, now time.Time) *identity.Store {
	tb.Helper()
	store, err := identity.Open(tb.TempDir())
	check(tb, err)
	a.Issue(tb, store, kind, name, now)
	return store
}

// Issue gives store a new certificate.
func (a *Authority) Issue(tb testing.TB, store *identity.Store, kind identity.Kind, name string, now time.Time) {
	tb.Helper()
	der, err := store.CSR(name)
	check(tb, err)
	csr, err := identity.ParseCSR(der)
	check(tb, err)
	template, err := identity.LeafTemplate(kind, name, csr.PublicKey, now, nil, nil)
	check(tb, err)
	leaf := a.Sign(tb, template, csr.PublicKey)
	var caChain [][]byte
	if kind == identity.Cluster {
		caChain = a.clusterCA(tb, store, now)
	}
	check(tb, store.Enrol(a.Pin(), [][]byte{leaf.Raw, a.Certificate.Raw}, caChain))
}

func (a *Authority) clusterCA(tb testing.TB, store *identity.Store, now time.Time) [][]byte {
	tb.Helper()
	der, err := store.CACSR()
	check(tb, err)
	csr, err := identity.ParseCSR(der)
	check(tb, err)
	id, err := store.ID(identity.Cluster)
	check(tb, err)
	template, err := identity.ClusterCATemplate(id, now)
	check(tb, err)
	return [][]byte{a.Sign(tb, template, csr.PublicKey).Raw, a.Certificate.Raw}
}

// Sign signs template for pub.
func (a *Authority) Sign(tb testing.TB, template *x509.Certificate, pub any) *x509.Certificate {
	tb.Helper()
	return sign(tb, template, a.Certificate, pub, a.key)
}

func sign(tb testing.TB, template, parent *x509.Certificate, pub any, key *ecdsa.PrivateKey) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	check(tb, err)
	cert, err := x509.ParseCertificate(der)
	check(tb, err)
	return cert
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
