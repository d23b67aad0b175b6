package pki_test

import (
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgeio/edgeio/control/pki"
	"github.com/edgeio/edgeio/proto/identity"
)

var epoch = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func at(now time.Time) func() time.Time { return func() time.Time { return now } }

func open(t *testing.T, dir string) *pki.Authority {
	t.Helper()
	return must[*pki.Authority](t)(pki.Open(dir, at(epoch)))
}

// join enrols a new store of that kind at a.
func join(t *testing.T, a pki.Issuer, pin identity.Pin, kind identity.Kind, name string) *identity.Store {
	t.Helper()
	s := must[*identity.Store](t)(identity.Open(t.TempDir()))
	chain := must[[][]byte](t)(a.IssueLeaf(must[[]byte](t)(s.CSR(name)), kind, name))
	var caChain [][]byte
	if kind == identity.Cluster {
		id := must[string](t)(s.ID(kind))
		caChain = must[[][]byte](t)(a.IssueClusterCA(must[[]byte](t)(s.CACSR()), id))
	}
	if err := s.Enrol(pin, chain, caChain); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAuthorityLasts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	a := open(t, dir)
	if b := open(t, dir); a.Pin() != b.Pin() || string(a.RootsPEM()) != string(b.RootsPEM()) {
		t.Error("a restart made another authority")
	}
	info, err := os.Stat(filepath.Join(dir, "authority-key.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info.Mode(), err)
	}
	if err := os.Remove(filepath.Join(dir, "authority-key.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Open(dir, nil); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("a lost key went unnoticed: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "authority.pem"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Open(dir, nil); !errors.Is(err, identity.ErrDamaged) {
		t.Errorf("a damaged certificate went unnoticed: %v", err)
	}
}

func TestTree(t *testing.T) {
	a := open(t, t.TempDir())
	cluster := join(t, a, a.Pin(), identity.Cluster, "garching")
	ca := pki.NewClusterAuthority(cluster, at(epoch))
	node := join(t, ca, a.Pin(), identity.Node, "e580")
	direct := join(t, a, a.Pin(), identity.Node, "e580")
	if node.Peer().ID == direct.Peer().ID {
		t.Error("two keys have one id")
	}
	if p := node.Peer(); p.Kind != identity.Node || p.Name != "e580" || !strings.HasPrefix(p.ID, "n-") {
		t.Errorf("node is %v", p)
	}
	leaf := node.Leaf()
	if life := leaf.NotAfter.Sub(epoch); life != identity.LeafLifetime || !leaf.NotBefore.Equal(epoch.Add(-identity.Backdate)) {
		t.Errorf("valid from %s to %s", leaf.NotBefore, leaf.NotAfter)
	}
	csr := must[[]byte](t)(direct.CSR("x"))
	for _, kind := range []identity.Kind{identity.Cluster, identity.Root} {
		if _, err := ca.IssueLeaf(csr, kind, "x"); err == nil {
			t.Errorf("a cluster issued a certificate of a %s", kind)
		}
	}
	if _, err := ca.IssueClusterCA(csr, "c-x"); err == nil {
		t.Error("a cluster issued an intermediate")
	}
	if _, err := a.IssueLeaf(csr, identity.Root, "x"); err == nil {
		t.Error("a root was enrolled")
	}
	late := pki.NewClusterAuthority(cluster, at(epoch.Add(identity.ClusterCALifetime+time.Hour)))
	if _, err := late.IssueLeaf(csr, identity.Node, "x"); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an expired intermediate issued: %v", err)
	}
}

func TestServerCertificateWorksForHTTPS(t *testing.T) {
	a := open(t, t.TempDir())
	s := must[*identity.Store](t)(identity.Open(t.TempDir()))
	chain := must[[][]byte](t)(a.IssueServer(must[[]byte](t)(s.CSR("root")), "root", []string{"root.example"}, []net.IP{net.IPv4(127, 0, 0, 1)}))
	if err := s.Enrol(a.Pin(), chain, nil); err != nil {
		t.Fatal(err)
	}
	if s.Peer().Kind != identity.Root {
		t.Errorf("peer %v", s.Peer())
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.RootsPEM())
	for _, name := range []string{"root.example", "127.0.0.1"} {
		if _, err := s.Leaf().Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: epoch}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadRequests(t *testing.T) {
	a := open(t, t.TempDir())
	s := must[*identity.Store](t)(identity.Open(t.TempDir()))
	csr := must[[]byte](t)(s.CSR("x"))
	forged := append([]byte(nil), csr...)
	forged[len(forged)-3] ^= 1
	cases := map[string]struct {
		csr  []byte
		name string
	}{
		"empty":     {nil, "x"},
		"forged":    {forged, "x"},
		"truncated": {csr[:len(csr)/2], "x"},
		"no name":   {csr, ""},
		"long name": {csr, strings.Repeat("x", 65)},
		"controls":  {csr, "a\nb"},
	}
	for name, c := range cases {
		if _, err := a.IssueLeaf(c.csr, identity.Node, c.name); err == nil {
			t.Errorf("%s: issued", name)
		}
	}
}

func TestJoinTokens(t *testing.T) {
	a := open(t, t.TempDir())
	token, record, err := pki.NewJoinToken(a.Pin(), identity.Node, "c-1", time.Hour, 1, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if token.Pin() != a.Pin() {
		t.Error("the token pins another authority")
	}
	good := pki.Redemption{Token: token, Kind: identity.Node, Cluster: "c-1", Subject: "n-1", Time: epoch}
	used, err := record.Redeem(good)
	if err != nil || len(used.Subjects) != 1 || len(record.Subjects) != 0 {
		t.Fatalf("first use: %v, %v", used, err)
	}
	other, _, _ := pki.NewJoinToken(a.Pin(), identity.Node, "", time.Hour, 1, epoch)
	cases := []struct {
		name   string
		record pki.JoinToken
		change func(*pki.Redemption)
		want   error
	}{
		{"same subject again", used, func(*pki.Redemption) {}, nil},
		{"cloned", used, func(r *pki.Redemption) { r.Subject = "n-2" }, pki.ErrTokenUsed},
		{"expired", record, func(r *pki.Redemption) { r.Time = epoch.Add(time.Hour) }, pki.ErrTokenExpired},
		{"expired for its user", used, func(r *pki.Redemption) { r.Time = epoch.Add(time.Hour) }, pki.ErrTokenExpired},
		{"just in time", record, func(r *pki.Redemption) { r.Time = epoch.Add(time.Hour - 1) }, nil},
		{"wrong kind", record, func(r *pki.Redemption) { r.Kind = identity.Cluster }, pki.ErrTokenKind},
		{"wrong cluster", record, func(r *pki.Redemption) { r.Cluster = "c-2" }, pki.ErrTokenKind},
		{"at the root", record, func(r *pki.Redemption) { r.Cluster = "" }, pki.ErrTokenKind},
		{"wrong secret", record, func(r *pki.Redemption) { r.Token = other }, pki.ErrTokenUnknown},
		{"revoked", record.Revoke(), func(*pki.Redemption) {}, pki.ErrTokenRevoked},
	}
	for _, c := range cases {
		r := good
		c.change(&r)
		got, err := c.record.Redeem(r)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if len(got.Subjects) > got.MaxUses {
			t.Errorf("%s: used %d times of %d", c.name, len(got.Subjects), got.MaxUses)
		}
	}
	for name, make := range map[string]func() error{
		"root": func() error {
			_, _, err := pki.NewJoinToken(a.Pin(), identity.Root, "", time.Hour, 1, epoch)
			return err
		},
		"no time":    func() error { _, _, err := pki.NewJoinToken(a.Pin(), identity.Node, "", 0, 1, epoch); return err },
		"no uses":    func() error { _, _, err := pki.NewJoinToken(a.Pin(), identity.Node, "", 1, 0, epoch); return err },
		"cluster in": func() error { _, _, err := pki.NewJoinToken(a.Pin(), identity.Cluster, "c-1", 1, 1, epoch); return err },
	} {
		if make() == nil {
			t.Errorf("%s: created", name)
		}
	}
}

func TestAPITokens(t *testing.T) {
	token, record, err := pki.NewAPIToken("ann", pki.Admin, time.Hour, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := pki.APITokenID(token); err != nil || id != record.ID {
		t.Errorf("id %q, %v; stored under %q", id, err, record.ID)
	}
	other, _, _ := pki.NewAPIToken("bob", pki.Admin, 0, epoch)
	revoked := record
	revoked.Revoked = true
	cases := []struct {
		name   string
		record pki.APIToken
		token  string
		now    time.Time
		want   error
	}{
		{"good", record, token, epoch, nil},
		{"other", record, other, epoch, pki.ErrAPITokenInvalid},
		{"empty", record, "", epoch, pki.ErrAPITokenInvalid},
		{"cut", record, token[:len(token)-1], epoch, pki.ErrAPITokenInvalid},
		{"not base64", record, token[:len(token)-1] + "!", epoch, pki.ErrAPITokenInvalid},
		{"expired", record, token, epoch.Add(time.Hour), pki.ErrAPITokenExpired},
		{"revoked", revoked, token, epoch, pki.ErrAPITokenRevoked},
		{"no record", pki.APIToken{}, token, epoch, pki.ErrAPITokenInvalid},
	}
	for _, c := range cases {
		if err := c.record.Verify(c.token, c.now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, _, err := pki.NewAPIToken("eve", "god", 0, epoch); !errors.Is(err, pki.ErrRole) {
		t.Errorf("role: %v", err)
	}
}
