package identity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/identity/identitytest"
)

var epoch = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func leaf(t *testing.T, kind identity.Kind, pub any) *x509.Certificate {
	t.Helper()
	c, err := identity.LeafTemplate(kind, "x", pub, epoch, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func signBy(t *testing.T, template, parent *x509.Certificate, pub any, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestChainRules(t *testing.T) {
	authority := identitytest.NewAuthority(t, epoch)
	foreign := identitytest.NewAuthority(t, epoch)
	caKey, subKey, key := newKey(t), newKey(t), newKey(t)
	pub := &key.PublicKey

	caTemplate, err := identity.ClusterCATemplate("c-cluster", epoch)
	if err != nil {
		t.Fatal(err)
	}
	ca := authority.Sign(t, caTemplate, &caKey.PublicKey)
	foreignCA := foreign.Sign(t, caTemplate, &caKey.PublicKey)
	subCA := signBy(t, caTemplate, ca, &subKey.PublicKey, caKey)
	namelessTemplate := *caTemplate
	namelessTemplate.URIs = nil
	nameless := authority.Sign(t, &namelessTemplate, &caKey.PublicKey)
	nodeLeaf := authority.Sign(t, leaf(t, identity.Node, &caKey.PublicKey), &caKey.PublicKey)

	stolen := leaf(t, identity.Node, pub)
	stolen.URIs = leaf(t, identity.Node, &newKey(t).PublicKey).URIs
	uris := func(c *x509.Certificate, more *x509.Certificate) *x509.Certificate {
		c.URIs = append(c.URIs, more.URIs...)
		return c
	}
	root := authority.Certificate
	byCA := func(c *x509.Certificate) *x509.Certificate { return signBy(t, c, ca, pub, caKey) }

	cases := []struct {
		name  string
		chain []*x509.Certificate
		now   time.Time
		want  identity.Kind // "" is refused
		text  string
	}{
		{"node of the root", []*x509.Certificate{authority.Sign(t, leaf(t, identity.Node, pub), pub), root}, epoch, identity.Node, ""},
		{"cluster", []*x509.Certificate{authority.Sign(t, leaf(t, identity.Cluster, pub), pub), root}, epoch, identity.Cluster, ""},
		{"root", []*x509.Certificate{authority.Sign(t, leaf(t, identity.Root, pub), pub), root}, epoch, identity.Root, ""},
		{"authority left out", []*x509.Certificate{authority.Sign(t, leaf(t, identity.Root, pub), pub)}, epoch, identity.Root, ""},
		{"node of a cluster", []*x509.Certificate{byCA(leaf(t, identity.Node, pub)), ca, root}, epoch, identity.Node, ""},
		{"cluster of a cluster", []*x509.Certificate{byCA(leaf(t, identity.Cluster, pub)), ca, root}, epoch, "", "may only issue certificates of nodes"},
		{"root of a cluster", []*x509.Certificate{byCA(leaf(t, identity.Root, pub)), ca, root}, epoch, "", "may only issue certificates of nodes"},
		{"intermediate left out", []*x509.Certificate{byCA(leaf(t, identity.Node, pub)), root}, epoch, "", "another authority"},
		{"intermediate of an intermediate", []*x509.Certificate{signBy(t, leaf(t, identity.Node, pub), subCA, pub, subKey), subCA, ca, root}, epoch, "", ""},
		{"intermediate without a name", []*x509.Certificate{signBy(t, leaf(t, identity.Node, pub), nameless, pub, caKey), nameless, root}, epoch, "", "not the intermediate of a cluster"},
		{"node signs a node", []*x509.Certificate{signBy(t, leaf(t, identity.Node, pub), nodeLeaf, pub, caKey), nodeLeaf, root}, epoch, "", ""},
		{"foreign authority", []*x509.Certificate{foreign.Sign(t, leaf(t, identity.Root, pub), pub), foreign.Certificate}, epoch, "", "another authority"},
		{"foreign intermediate", []*x509.Certificate{signBy(t, leaf(t, identity.Cluster, pub), foreignCA, pub, caKey), foreignCA, foreign.Certificate}, epoch, "", "another authority"},
		{"id of another key", []*x509.Certificate{authority.Sign(t, stolen, pub), root}, epoch, "", "but its key is that of"},
		{"two identities", []*x509.Certificate{authority.Sign(t, uris(leaf(t, identity.Node, pub), leaf(t, identity.Root, pub)), pub), root}, epoch, "", "exactly one"},
		{"authority as a leaf", []*x509.Certificate{root}, epoch, "", "an authority, not a process"},
		{"intermediate as a leaf", []*x509.Certificate{ca, root}, epoch, "", "an authority, not a process"},
		{"expired", []*x509.Certificate{authority.Sign(t, leaf(t, identity.Node, pub), pub), root}, epoch.Add(identity.LeafLifetime + time.Minute), "", "expired at"},
		{"not yet valid", []*x509.Certificate{authority.Sign(t, leaf(t, identity.Node, pub), pub), root}, epoch.Add(-2 * time.Hour), "", "set the clock"},
		{"clock a little behind", []*x509.Certificate{authority.Sign(t, leaf(t, identity.Node, pub), pub), root}, epoch.Add(-50 * time.Minute), identity.Node, ""},
		{"empty", nil, epoch, "", "empty"},
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			peer, err := identity.Verify(c.chain, pool, c.now)
			if c.want == "" {
				if !errors.Is(err, identity.ErrUntrusted) || !strings.Contains(err.Error(), c.text) || !peer.Anonymous() {
					t.Fatalf("got %v, %v; want a refusal with %q", peer, err, c.text)
				}
				return
			}
			if err != nil || peer.Kind != c.want {
				t.Fatalf("got %v, %v; want a %s", peer, err, c.want)
			}
		})
	}
}

func TestOnlyP256(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := identity.IDFromKey(identity.Node, &key.PublicKey); err == nil {
		t.Errorf("P-384 got the id %s", id)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := identity.ParseCSR(der); err == nil {
		t.Error("a request with P-384 was taken")
	}
}

func TestTokenRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var pin identity.Pin
		copy(pin[:], rapid.SliceOfN(rapid.Byte(), len(pin), len(pin)).Draw(t, "pin"))
		token := identity.NewToken(pin)
		s := token.String()
		got, err := identity.ParseToken(" " + s + "\n")
		if err != nil || got != token || got.Pin() != pin {
			t.Fatalf("%v of %q", err, s)
		}
		i := rapid.IntRange(0, len(s)-1).Draw(t, "position")
		b := rapid.SampledFrom([]byte("AZaz09-_+/ ")).Draw(t, "char")
		if s[i] == b {
			return
		}
		if _, err := identity.ParseToken(s[:i] + string(b) + s[i+1:]); err == nil {
			t.Fatalf("a mistyped character at %d went unnoticed", i)
		}
	})
}

func TestTokenErrors(t *testing.T) {
	s := identity.NewToken(identity.Pin{1}).String()
	for in, want := range map[string]string{
		"":                    "is empty",
		"hello":               "does not begin with edgeio1_",
		s[:len(s)-1]:          "cut off",
		s + "x":               "too long",
		s[:20] + "!" + s[21:]: "does not belong there",
	} {
		_, err := identity.ParseToken(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", in, err, want)
		}
	}
}

func TestTokenKeepsItsSecret(t *testing.T) {
	token := identity.NewToken(identity.Pin{1})
	secret := token.String()[70:]
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", token, "in", struct{ T identity.Token }{token})
	shown := log.String() + fmt.Sprint(token) + fmt.Sprintf("%v %+v %#v %s %q %x", token, token, token, token, token, token)
	if strings.Contains(shown, secret) {
		t.Errorf("secret shown: %s", shown)
	}
	if !strings.Contains(fmt.Sprint(token), token.ID()) {
		t.Errorf("no id in %v", token)
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(identity.NewToken(identity.Pin{7}).String())
	f.Add("edgeio1_")
	f.Add("edgeio1_" + strings.Repeat("A", 80))
	f.Fuzz(func(t *testing.T, s string) {
		token, err := identity.ParseToken(s)
		if err == nil && token.String() != strings.TrimSpace(s) {
			t.Errorf("%q reads as %q", s, token.String())
		}
	})
}

func FuzzParseCertificates(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		certs, err := identity.ParseCertificates(data)
		if err == nil && len(certs) == 0 {
			t.Error("nothing read, and no error")
		}
		for _, c := range certs {
			_, _ = identity.PeerFromCertificate(c)
		}
	})
}

func TestStoreLastsAndRenews(t *testing.T) {
	authority := identitytest.NewAuthority(t, epoch)
	dir := filepath.Join(t.TempDir(), "identity")
	s, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.Enrolled() || s.Leaf() != nil {
		t.Error("enrolled from the start")
	}
	if _, _, err := s.CA(); !errors.Is(err, identity.ErrNotEnrolled) {
		t.Errorf("CA: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "key.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info.Mode(), err)
	}
	id, err := s.ID(identity.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	authority.Issue(t, s, identity.Cluster, "garching", epoch)

	again, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Peer() != (identity.Peer{ID: id, Kind: identity.Cluster, Name: "garching"}) {
		t.Errorf("after a restart: %v", again.Peer())
	}
	if _, _, err := again.CA(); err != nil {
		t.Errorf("CA after a restart: %v", err)
	}

	tomorrow := epoch.Add(24 * time.Hour)
	tmpl := leaf(t, identity.Cluster, s.Leaf().PublicKey)
	tmpl.NotAfter = tomorrow.Add(identity.LeafLifetime)
	renewed := authority.Sign(t, tmpl, s.Leaf().PublicKey)
	if err := s.Renew([][]byte{renewed.Raw, authority.Certificate.Raw}, nil); err != nil {
		t.Fatal(err)
	}
	if !s.Leaf().NotAfter.Equal(tmpl.NotAfter) {
		t.Error("the renewed certificate is not in use")
	}
	if _, _, err := s.CA(); err != nil {
		t.Errorf("renewing the leaf lost the intermediate: %v", err)
	}

	other := identitytest.NewAuthority(t, epoch)
	foreign := other.Sign(t, leaf(t, identity.Cluster, s.Leaf().PublicKey), s.Leaf().PublicKey)
	if err := s.Renew([][]byte{foreign.Raw, other.Certificate.Raw}, nil); !errors.Is(err, identity.ErrUntrusted) {
		t.Errorf("renewed by another authority: %v", err)
	}
	if err := s.Enrol(authority.Pin(), [][]byte{foreign.Raw, other.Certificate.Raw}, nil); !errors.Is(err, identity.ErrUntrusted) {
		t.Errorf("enrolled past the pin: %v", err)
	}
	if err := s.Enrol(other.Pin(), [][]byte{foreign.Raw, other.Certificate.Raw}, nil); err != nil {
		t.Errorf("join elsewhere: %v", err)
	}
	if _, _, err := s.CA(); err == nil {
		t.Error("the intermediate of the former authority is still in use")
	}
	if again, err = identity.Open(dir); err != nil || !again.Enrolled() {
		t.Errorf("after joining elsewhere: %v", err)
	}
	if err := again.Forget(); err != nil {
		t.Fatal(err)
	}
	if again, err = identity.Open(dir); err != nil || again.Enrolled() {
		t.Errorf("after leaving: enrolled %v, %v", again.Enrolled(), err)
	}
	if got, _ := again.ID(identity.Cluster); got != id {
		t.Errorf("leaving changed the id from %s to %s", id, got)
	}
}

func TestStoreRefusesAnothersCertificate(t *testing.T) {
	authority := identitytest.NewAuthority(t, epoch)
	s, err := identity.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	c := authority.Sign(t, leaf(t, identity.Node, &key.PublicKey), &key.PublicKey)
	if err := s.Enrol(authority.Pin(), [][]byte{c.Raw, authority.Certificate.Raw}, nil); err == nil {
		t.Error("enrolled with a certificate for another key")
	}
}

func TestDamagedFiles(t *testing.T) {
	authority := identitytest.NewAuthority(t, epoch)
	for _, name := range []string{"key.pem", "chain.pem", "roots.pem", "ca-key.pem", "ca-chain.pem"} {
		for what, damage := range map[string]func(path string) error{
			"empty":     func(p string) error { return os.WriteFile(p, nil, 0o600) },
			"rubbish":   func(p string) error { return os.WriteFile(p, []byte("rubbish"), 0o600) },
			"truncated": func(p string) error { return os.Truncate(p, 100) },
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				dir := t.TempDir()
				s, err := identity.Open(dir)
				if err != nil {
					t.Fatal(err)
				}
				authority.Issue(t, s, identity.Cluster, "x", epoch)
				if err := damage(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				_, err = identity.Open(dir)
				if !errors.Is(err, identity.ErrDamaged) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "join again") {
					t.Errorf("got %v", err)
				}
			})
		}
	}
	dir := t.TempDir()
	s, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	authority.Issue(t, s, identity.Node, "x", epoch)
	if err := os.Remove(filepath.Join(dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.Open(dir); !errors.Is(err, identity.ErrDamaged) {
		t.Errorf("a lost key was replaced silently: %v", err)
	}
}

// handshake runs one over a pipe and returns the errors of both ends.
func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	a, b := net.Pipe()
	s, c := tls.Server(a, server), tls.Client(b, client)
	done := make(chan error, 1)
	go func() {
		err := s.Handshake()
		_ = a.Close()
		done <- err
	}()
	clientErr = c.Handshake()
	if clientErr == nil { // TLS 1.3: the server's verdict comes after
		_, err := c.Read(make([]byte, 1))
		var alert *net.OpError
		if errors.As(err, &alert) && strings.Contains(err.Error(), "remote error") {
			clientErr = err
		}
	}
	_ = b.Close()
	return <-done, clientErr
}

func TestTLS(t *testing.T) {
	authority := identitytest.NewAuthority(t, epoch)
	foreign := identitytest.NewAuthority(t, epoch)
	clock := func() time.Time { return epoch }
	opts := identity.TLSOptions{Clock: clock}
	root := authority.Enrol(t, identity.Root, "root", epoch)
	node := authority.Enrol(t, identity.Node, "node", epoch)
	stranger := foreign.Enrol(t, identity.Node, "stranger", epoch)
	young := authority.Enrol(t, identity.Node, "young", epoch.Add(30*24*time.Hour))
	unborn := func() time.Time { return time.Unix(0, 0) }
	refuse := func(identity.Peer, *x509.Certificate) error { return errors.New("revoked") }
	gullible := stranger.ClientTLS(opts)
	gullible.VerifyConnection = nil
	cases := []struct {
		name           string
		server, client *tls.Config
		serverErr      string
		clientErr      string
	}{
		{"both known", root.ServerTLS(opts), node.ClientTLS(opts), "", ""},
		{"enrolment", root.ServerTLS(opts), identity.EnrolTLS(authority.Pin(), opts), "", ""},
		{"enrolment, clock in 1970", root.ServerTLS(opts), identity.EnrolTLS(authority.Pin(), identity.TLSOptions{Clock: unborn}), "", ""},
		{"enrolment, wrong pin", root.ServerTLS(opts), identity.EnrolTLS(foreign.Pin(), opts), "bad certificate", "another authority than the join token"},
		{"enrolment at a node", node.ServerTLS(opts), identity.EnrolTLS(authority.Pin(), opts), "bad certificate", "not expected here"},
		{"node as a parent", node.ServerTLS(opts), node.ClientTLS(opts), "bad certificate", "not expected here"},
		{"foreign child", root.ServerTLS(opts), stranger.ClientTLS(opts), "", "another authority"},
		{"foreign child that trusts anyone", root.ServerTLS(opts), gullible, "another authority", "bad certificate"},
		{"revoked", root.ServerTLS(identity.TLSOptions{Clock: clock, Refuse: refuse}), node.ClientTLS(opts), "revoked", "bad certificate"},
		{"child's clock in 1970", root.ServerTLS(opts), node.ClientTLS(identity.TLSOptions{Clock: unborn}), "", ""},
		{"child's clock ahead by years", root.ServerTLS(opts), node.ClientTLS(identity.TLSOptions{Clock: func() time.Time { return epoch.Add(1e4 * time.Hour) }}), "bad certificate", "expired"},
		{"certificate from the future", root.ServerTLS(opts), young.ClientTLS(opts), "not valid before", "bad certificate"},
		{"parent's clock in 1970", root.ServerTLS(identity.TLSOptions{Clock: unborn}), node.ClientTLS(opts), "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			serverErr, clientErr := handshake(t, c.server, c.client)
			for _, end := range []struct {
				who  string
				err  error
				want string
			}{{"server", serverErr, c.serverErr}, {"client", clientErr, c.clientErr}} {
				switch {
				case end.want == "" && end.err != nil && c.serverErr+c.clientErr == "":
					t.Errorf("%s: %v", end.who, end.err)
				case end.want != "" && (end.err == nil || !strings.Contains(end.err.Error(), end.want)):
					t.Errorf("%s: got %v, want %q", end.who, end.err, end.want)
				}
			}
		})
	}
}

func TestRenewAt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		life := time.Duration(rapid.Int64Range(1, int64(identity.AuthorityLifetime)).Draw(t, "life"))
		jitter := rapid.Float64Range(0, 0.999).Draw(t, "jitter")
		at := identity.RenewAt(epoch, epoch.Add(life), jitter)
		if share := float64(at.Sub(epoch)) / float64(life); life > 1000 && (share < 0.39 || share > 0.61) {
			t.Fatalf("life %s, jitter %f: %s", life, jitter, at.Sub(epoch))
		}
	})
}

func TestDerivedKeys(t *testing.T) {
	dir := t.TempDir()
	key := func(label string) [32]byte {
		s, err := identity.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		k, err := s.DeriveKey(label)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first, again := key("a"), key("a")
	if first != again || first == key("b") {
		t.Error("derived keys must depend on the key and the label, and on nothing else")
	}
}
