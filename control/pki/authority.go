// Package pki is the trust of a tree: the authority embedded in the root, the
// intermediates of clusters, the join tokens by which processes enrol, and the
// API tokens of users.
//
// It signs what it is asked to; who may ask is decided by its callers, with the
// pure rules on tokens that are here. It stores the authority's key itself, in
// files, and leaves the storing of tokens to control/store. The form of
// certificates is that of proto/identity.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/edgeio/edgeio/proto/identity"
)

// Issuer issues certificates for children. Chains are in DER, leaf first, the
// authority's own certificate last.
type Issuer interface {
	// IssueLeaf certifies the key of csr (PKCS#10, DER). The id comes from the
	// key; the subject in csr does not matter.
	IssueLeaf(csr []byte, kind identity.Kind, name string) (chain [][]byte, err error)
	// IssueClusterCA certifies the intermediate of the cluster with that id.
	IssueClusterCA(csr []byte, clusterID string) (chain [][]byte, err error)
}

var (
	_ Issuer = (*Authority)(nil)
	_ Issuer = (*ClusterAuthority)(nil)
)

const (
	keyFile  = "authority-key.pem"
	certFile = "authority.pem"
)

// Authority is what all of a tree trusts. It is safe for concurrent use.
type Authority struct {
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	clock func() time.Time
}

// Open reads the authority in dir, and makes one if dir has none. clock may be
// nil. The folder must be backed up: with its key gone, all processes of the
// tree have to join again.
func Open(dir string, clock func() time.Time) (*Authority, error) {
	a := &Authority{clock: clock}
	if a.clock == nil {
		a.clock = time.Now
	}
	if err := a.open(dir); err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	return a, nil
}

func (a *Authority) open(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	keyPath, certPath := filepath.Join(dir, keyFile), filepath.Join(dir, certFile)
	certs, err := identity.LoadCertificates(certPath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if certs != nil {
		if _, err := os.Stat(keyPath); err != nil {
			return fmt.Errorf("%s belongs to a key that is not there: %w; restore it from a backup", certPath, err)
		}
	}
	if a.key, err = identity.LoadOrCreateKey(keyPath); err != nil {
		return err
	}
	if certs == nil {
		return a.create(certPath)
	}
	a.cert = certs[0]
	if !a.key.PublicKey.Equal(a.cert.PublicKey) {
		return fmt.Errorf("%s and %s do not belong together; restore both from one backup", certPath, keyPath)
	}
	return nil
}

func (a *Authority) create(path string) error {
	template, err := identity.AuthorityTemplate(&a.key.PublicKey, a.clock())
	if err != nil {
		return err
	}
	if a.cert, err = sign(template, template, &a.key.PublicKey, a.key); err != nil {
		return err
	}
	return identity.WriteFile(path, identity.EncodeCertificates([]*x509.Certificate{a.cert}), 0o644)
}

// Pin is what join tokens carry.
func (a *Authority) Pin() identity.Pin { return identity.PinOf(a.cert) }

// RootsPEM is what clients of the REST API trust.
func (a *Authority) RootsPEM() []byte {
	return identity.EncodeCertificates([]*x509.Certificate{a.cert})
}

// IssueLeaf implements Issuer, for clusters and nodes.
func (a *Authority) IssueLeaf(csr []byte, kind identity.Kind, name string) ([][]byte, error) {
	if kind == identity.Root {
		return nil, errors.New("issue certificate: a root does not enrol; use IssueServer")
	}
	return issueLeaf(a.key, []*x509.Certificate{a.cert}, a.clock(), csr, kind, name, nil, nil)
}

// IssueServer certifies the key of csr for the root itself, as the server of
// links and, under the given host names and addresses, of HTTPS.
func (a *Authority) IssueServer(csr []byte, name string, dnsNames []string, ips []net.IP) ([][]byte, error) {
	return issueLeaf(a.key, []*x509.Certificate{a.cert}, a.clock(), csr, identity.Root, name, dnsNames, ips)
}

// IssueClusterCA implements Issuer.
func (a *Authority) IssueClusterCA(csr []byte, clusterID string) ([][]byte, error) {
	req, err := identity.ParseCSR(csr)
	if err != nil {
		return nil, fmt.Errorf("issue intermediate of %s: %w", clusterID, err)
	}
	template, err := identity.ClusterCATemplate(clusterID, a.clock())
	if err != nil {
		return nil, fmt.Errorf("issue intermediate of %s: %w", clusterID, err)
	}
	limitTo(template, a.cert)
	ca, err := sign(template, a.cert, req.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("issue intermediate of %s: %w", clusterID, err)
	}
	return [][]byte{ca.Raw, a.cert.Raw}, nil
}

// ClusterAuthority issues certificates of nodes with the intermediate of a
// cluster, which it takes from the identity at each use, so that a renewed one
// takes effect by itself.
type ClusterAuthority struct {
	store *identity.Store
	clock func() time.Time
}

// NewClusterAuthority uses the intermediate in store. clock may be nil.
func NewClusterAuthority(store *identity.Store, clock func() time.Time) *ClusterAuthority {
	if clock == nil {
		clock = time.Now
	}
	return &ClusterAuthority{store: store, clock: clock}
}

// Pin is that of the authority of the tree.
func (c *ClusterAuthority) Pin() (identity.Pin, bool) { return c.store.Pin() }

// IssueLeaf implements Issuer, for nodes only: nobody would believe others.
func (c *ClusterAuthority) IssueLeaf(csr []byte, kind identity.Kind, name string) ([][]byte, error) {
	if kind != identity.Node {
		return nil, fmt.Errorf("issue certificate: a cluster enrols nodes only, not a %s: join at the root", kind)
	}
	chain, key, err := c.store.CA()
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	now := c.store.Now(c.clock())
	if now.After(chain[0].NotAfter) {
		return nil, fmt.Errorf("issue certificate: the intermediate authority of this cluster expired at %s: it renews when the cluster reaches the root",
			chain[0].NotAfter.Format(time.RFC3339))
	}
	return issueLeaf(key, chain, now, csr, kind, name, nil, nil)
}

// IssueClusterCA implements Issuer; it always fails, since clusters hang below
// the root only.
func (c *ClusterAuthority) IssueClusterCA(_ []byte, clusterID string) ([][]byte, error) {
	return nil, fmt.Errorf("issue intermediate of %s: a cluster cannot: join at the root", clusterID)
}

func issueLeaf(key crypto.Signer, issuer []*x509.Certificate, now time.Time, csr []byte, kind identity.Kind, name string, dnsNames []string, ips []net.IP) ([][]byte, error) {
	req, err := identity.ParseCSR(csr)
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %s %q: %w", kind, name, err)
	}
	template, err := identity.LeafTemplate(kind, name, req.PublicKey, now, dnsNames, ips)
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %s %q: %w", kind, name, err)
	}
	limitTo(template, issuer[0])
	leaf, err := sign(template, issuer[0], req.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %s %q: %w", kind, name, err)
	}
	chain := [][]byte{leaf.Raw}
	for _, c := range issuer {
		chain = append(chain, c.Raw)
	}
	return chain, nil
}

// limitTo keeps a certificate within the life of its issuer, so that its
// holder's renewal comes in time.
func limitTo(template, issuer *x509.Certificate) {
	if template.NotAfter.After(issuer.NotAfter) {
		template.NotAfter = issuer.NotAfter
	}
}

func sign(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}
