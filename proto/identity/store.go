package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Files of a Store, all in PEM.
const (
	keyFile     = "key.pem"
	chainFile   = "chain.pem" // leaf first, authority last
	rootsFile   = "roots.pem"
	caKeyFile   = "ca-key.pem"   // clusters only
	caChainFile = "ca-chain.pem" // clusters only
)

// Store keeps the identity of one process in a folder. It is safe for
// concurrent use within one process; two processes must not share the folder.
type Store struct {
	dir string
	key *ecdsa.PrivateKey

	mu      sync.RWMutex
	current enrolled
}

// enrolled is what the authority has given. It is replaced, never changed.
type enrolled struct {
	peer    Peer
	chain   []*x509.Certificate
	trusted []*x509.Certificate
	pool    *x509.CertPool
	caKey   *ecdsa.PrivateKey
	caChain []*x509.Certificate
}

// Open reads the identity in dir. On first use it makes the folder and the key.
// An error that is ErrDamaged names the file and the way out.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open identity: %w", err)
	}
	s := &Store{dir: dir}
	chain, err := LoadCertificates(s.path(chainFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open identity: %w", err)
	}
	if chain != nil {
		// A new key would silently make another process out of this one.
		if _, err := os.Stat(s.path(keyFile)); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("open identity: %w", damaged(s.path(keyFile), err))
		}
	}
	if s.key, err = LoadOrCreateKey(s.path(keyFile)); err != nil {
		return nil, fmt.Errorf("open identity: %w", err)
	}
	if chain == nil {
		return s, nil
	}
	if s.current, err = s.load(chain); err != nil {
		return nil, fmt.Errorf("open identity: %w", err)
	}
	return s, nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Store) load(chain []*x509.Certificate) (enrolled, error) {
	trusted, err := LoadCertificates(s.path(rootsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return enrolled{}, damaged(s.path(rootsFile), err)
	}
	if err != nil {
		return enrolled{}, err
	}
	e, err := s.newEnrolled(chain, trusted)
	if err != nil {
		return enrolled{}, damaged(s.path(chainFile), err)
	}
	caChain, err := LoadCertificates(s.path(caChainFile))
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	if err != nil {
		return enrolled{}, err
	}
	if e.caKey, err = loadKey(s.path(caKeyFile)); err != nil {
		return enrolled{}, err
	}
	if e.caChain, err = checkCAChain(caChain, e.caKey, e.peer, e.pool); err != nil {
		return enrolled{}, damaged(s.path(caChainFile), err)
	}
	return e, nil
}

// newEnrolled checks that chain is for the own key and ends at one of trusted.
// The time is not looked at: an expired certificate is a state, not damage.
func (s *Store) newEnrolled(chain, trusted []*x509.Certificate) (enrolled, error) {
	if !s.key.PublicKey.Equal(chain[0].PublicKey) {
		return enrolled{}, errors.New("the certificate is for another key")
	}
	pool := x509.NewCertPool()
	for _, c := range trusted {
		pool.AddCert(c)
	}
	peer, err := Verify(chain, pool, bound(chain))
	if err != nil {
		return enrolled{}, err
	}
	return enrolled{peer: peer, chain: chain, trusted: trusted, pool: pool}, nil
}

// checkCAChain checks the intermediate of the cluster peer.
func checkCAChain(chain []*x509.Certificate, key *ecdsa.PrivateKey, peer Peer, pool *x509.CertPool) ([]*x509.Certificate, error) {
	ca := chain[0]
	host, id, err := subject(ca)
	switch {
	case err != nil:
		return nil, err
	case host != uriClusterCA || id != peer.ID || !ca.IsCA:
		return nil, fmt.Errorf("%q is not the intermediate of %s", ca.Subject.CommonName, peer)
	case !key.PublicKey.Equal(ca.PublicKey):
		return nil, fmt.Errorf("the intermediate of %s is for another key", peer)
	}
	if _, err := ca.Verify(x509.VerifyOptions{
		Roots: pool, CurrentTime: bound(chain), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}); err != nil {
		return nil, fmt.Errorf("verify the intermediate of %s: %w", peer, err)
	}
	return chain, nil
}

// bound is the latest beginning of validity in chain: it must have been later
// than that when the chain was issued.
func bound(chain []*x509.Certificate) time.Time {
	var t time.Time
	for _, c := range chain {
		t = later(t, c.NotBefore)
	}
	return t
}

// CSR returns a request (PKCS#10, DER) for a certificate for the own key.
func (s *Store) CSR(name string) ([]byte, error) { return newCSR(s.key, name) }

// CACSR returns a request for the intermediate of a cluster, whose key it makes
// on first use.
func (s *Store) CACSR() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := LoadOrCreateKey(s.path(caKeyFile))
	if err != nil {
		return nil, err
	}
	return newCSR(key, "edgeIO cluster")
}

func newCSR(key crypto.Signer, name string) ([]byte, error) {
	if err := CheckName(name); err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return der, nil
}

// ID returns the id that the own key has as a process of that kind. It is known
// before enrolment.
func (s *Store) ID(kind Kind) (string, error) { return IDFromKey(kind, &s.key.PublicKey) }

// Enrol keeps the result of an enrolment: certificates in DER, leaf first, the
// authority last. The authority must be the pinned one and is trusted from now
// on, instead of any earlier one. caChain is for clusters and else empty.
func (s *Store) Enrol(pin Pin, chain, caChain [][]byte) error {
	certs, err := parseChain(chain)
	if err != nil {
		return fmt.Errorf("keep enrolment: %w", err)
	}
	authority := certs[len(certs)-1]
	if PinOf(authority) != pin {
		return fmt.Errorf("keep enrolment: %w: the certificate comes from another authority than the join token", ErrUntrusted)
	}
	return s.replace(certs, []*x509.Certificate{authority}, caChain)
}

// Renew keeps certificates that replace those of the enrolment. They must come
// from an authority that is trusted already. An empty caChain leaves the
// intermediate as it is.
func (s *Store) Renew(chain, caChain [][]byte) error {
	certs, err := parseChain(chain)
	if err != nil {
		return fmt.Errorf("keep renewed certificate: %w", err)
	}
	s.mu.RLock()
	trusted := s.current.trusted
	s.mu.RUnlock()
	if trusted == nil {
		return fmt.Errorf("keep renewed certificate: %w", ErrNotEnrolled)
	}
	return s.replace(certs, trusted, caChain)
}

func parseChain(chain [][]byte) ([]*x509.Certificate, error) {
	if len(chain) == 0 || len(chain) > 4 {
		return nil, fmt.Errorf("the chain has %d certificates", len(chain))
	}
	certs := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		var err error
		if certs[i], err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("read certificate %d of the chain: %w", i+1, err)
		}
	}
	return certs, nil
}

func (s *Store) replace(chain, trusted []*x509.Certificate, caChain [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := s.newEnrolled(chain, trusted)
	if err != nil {
		return fmt.Errorf("keep certificate: %w", err)
	}
	sameRoots := equalChains(s.current.trusted, trusted)
	if sameRoots && s.current.peer.ID == next.peer.ID {
		next.caKey, next.caChain = s.current.caKey, s.current.caChain
	}
	if len(caChain) > 0 {
		if next.caKey, err = loadKey(s.path(caKeyFile)); err != nil {
			return err
		}
		parsed, err := parseChain(caChain)
		if err != nil {
			return fmt.Errorf("keep intermediate: %w", err)
		}
		if next.caChain, err = checkCAChain(parsed, next.caKey, next.peer, next.pool); err != nil {
			return fmt.Errorf("keep intermediate: %w", err)
		}
	}
	if err := s.write(next, sameRoots); err != nil {
		return err
	}
	s.current = next
	return nil
}

// write puts the files in an order in which a crash leaves either an enrolled
// store or one that is not enrolled, and never a mixture of two authorities:
// the chain, by which a store counts as enrolled, goes first and comes last.
func (s *Store) write(next enrolled, sameRoots bool) error {
	if !sameRoots {
		if err := s.remove(chainFile, caChainFile); err != nil {
			return err
		}
		if err := WriteFile(s.path(rootsFile), EncodeCertificates(next.trusted), 0o644); err != nil {
			return err
		}
	}
	if next.caChain != nil {
		if err := WriteFile(s.path(caChainFile), EncodeCertificates(next.caChain), 0o644); err != nil {
			return err
		}
	}
	return WriteFile(s.path(chainFile), EncodeCertificates(next.chain), 0o644)
}

func (s *Store) remove(names ...string) error {
	for _, name := range names {
		if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget certificate: %w", err)
		}
	}
	if err := syncDir(s.dir); err != nil {
		return fmt.Errorf("forget certificate: %w", err)
	}
	return nil
}

// Forget removes certificates and trust but keeps the key, so that the process
// is the same one if it joins again.
func (s *Store) Forget() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.remove(chainFile, caChainFile, rootsFile); err != nil {
		return err
	}
	s.current = enrolled{}
	return nil
}

// Peer returns who the process is: the zero Peer before enrolment.
func (s *Store) Peer() Peer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.current.peer
}

// Enrolled reports whether there is a certificate, expired or not.
func (s *Store) Enrolled() bool { return !s.Peer().Anonymous() }

// Leaf returns the own certificate, nil before enrolment.
func (s *Store) Leaf() *x509.Certificate {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.current.chain) == 0 {
		return nil
	}
	return s.current.chain[0]
}

// CA returns the chain of a cluster's intermediate, intermediate first, and its
// key; ErrNotEnrolled if there is none.
func (s *Store) CA() ([]*x509.Certificate, crypto.Signer, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.current.caChain == nil {
		return nil, nil, fmt.Errorf("the intermediate authority of this cluster: %w", ErrNotEnrolled)
	}
	return s.current.caChain, s.current.caKey, nil
}

// Pin returns that of the trusted authority; false before enrolment.
func (s *Store) Pin() (Pin, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.current.trusted) == 0 {
		return Pin{}, false
	}
	return PinOf(s.current.trusted[0]), true
}

// RootsPEM returns the trusted authority's certificate, nil before enrolment.
func (s *Store) RootsPEM() []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return EncodeCertificates(s.current.trusted)
}

// DeriveKey returns 32 secret bytes that depend on the own private key and on
// label, and stay the same over restarts.
func (s *Store) DeriveKey(label string) ([32]byte, error) {
	var out [32]byte
	raw, err := s.key.Bytes()
	if err != nil {
		return out, fmt.Errorf("derive key: %w", err)
	}
	derived, err := hkdf.Key(sha256.New, raw, nil, "edgeio "+label, len(out))
	if err != nil {
		return out, fmt.Errorf("derive key: %w", err)
	}
	copy(out[:], derived)
	return out, nil
}

// Now returns the time to verify certificates by: clock, or when the own
// certificate was issued if that is later. A board without a battery for its
// clock wakes up in the past, and would otherwise refuse everyone until it has
// asked for the time, for which it may need the link.
func (s *Store) Now(clock time.Time) time.Time {
	leaf := s.Leaf()
	if leaf == nil {
		return clock
	}
	return later(clock, leaf.NotBefore.Add(Backdate))
}

func (s *Store) roots() *x509.CertPool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.current.pool
}

func (s *Store) certificate() (*tls.Certificate, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.current.chain) == 0 {
		return nil, ErrNotEnrolled
	}
	cert := &tls.Certificate{PrivateKey: s.key, Leaf: s.current.chain[0]}
	for _, c := range s.current.chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert, nil
}

func equalChains(a, b []*x509.Certificate) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i].Raw, b[i].Raw) {
			return false
		}
	}
	return true
}
