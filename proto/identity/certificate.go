package identity

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"
)

// Backdate is how far before the time of issue a certificate begins, for peers
// whose clock is behind.
const Backdate = time.Hour

// Lifetimes of certificates, counted from the time of issue.
const (
	AuthorityLifetime = 10 * 365 * 24 * time.Hour
	ClusterCALifetime = 365 * 24 * time.Hour
	LeafLifetime      = 90 * 24 * time.Hour
)

// LeafTemplate returns what an issuer signs for a process that holds the
// private half of pub. dnsNames and ips are for servers that browsers and
// other programs outside edgeIO call; they may be nil.
func LeafTemplate(kind Kind, name string, pub crypto.PublicKey, now time.Time, dnsNames []string, ips []net.IP) (*x509.Certificate, error) {
	id, err := IDFromKey(kind, pub)
	if err != nil {
		return nil, err
	}
	if err := CheckName(name); err != nil {
		return nil, err
	}
	t, err := template(name, leafURI(kind, id), now, LeafLifetime)
	if err != nil {
		return nil, err
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	t.DNSNames, t.IPAddresses = dnsNames, ips
	return t, nil
}

// ClusterCATemplate returns what the authority signs for the intermediate of a
// cluster, which then issues certificates of nodes and of nothing else.
func ClusterCATemplate(clusterID string, now time.Time) (*x509.Certificate, error) {
	t, err := template("edgeIO cluster "+clusterID, clusterCAURI(clusterID), now, ClusterCALifetime)
	if err != nil {
		return nil, err
	}
	t.IsCA, t.MaxPathLenZero = true, true
	t.KeyUsage = x509.KeyUsageCertSign
	return t, nil
}

// AuthorityTemplate returns what the authority of a tree signs for itself.
func AuthorityTemplate(pub crypto.PublicKey, now time.Time) (*x509.Certificate, error) {
	id, err := IDFromKey(Root, pub)
	if err != nil {
		return nil, err
	}
	t, err := template(authorityName+" "+id, nil, now, AuthorityLifetime)
	if err != nil {
		return nil, err
	}
	t.IsCA, t.MaxPathLen = true, 1
	t.KeyUsage = x509.KeyUsageCertSign
	return t, nil
}

func template(name string, uri *url.URL, now time.Time, lifetime time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              now.Add(lifetime),
		BasicConstraintsValid: true,
	}
	if uri != nil {
		t.URIs = []*url.URL{uri}
	}
	return t, nil
}

// ParseCSR reads a certificate request (PKCS#10, DER), and checks that it is
// signed with the key that it names and that the key is of the right sort.
func ParseCSR(der []byte) (*x509.CertificateRequest, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("read certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("check certificate request: %w", err)
	}
	if err := checkPublicKey(csr.PublicKey); err != nil {
		return nil, fmt.Errorf("check certificate request: %w", err)
	}
	return csr, nil
}

// Pin is the SHA-256 of an authority's public key (SPKI).
type Pin [sha256.Size]byte

// PinOf returns the pin of an authority's certificate.
func PinOf(cert *x509.Certificate) Pin { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// RenewAt returns when a certificate of that validity should be renewed: at
// half of its life, moved by up to a tenth of its life either way. jitter is
// in [0,1) and is drawn once per process, so that the members of a large tree
// do not all come at once.
func RenewAt(notBefore, notAfter time.Time, jitter float64) time.Time {
	life := notAfter.Sub(notBefore)
	return notBefore.Add(time.Duration(float64(life) * (0.4 + 0.2*jitter)))
}
