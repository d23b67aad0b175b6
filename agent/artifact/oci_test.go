package artifact

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry/remote"
)

// fakeRegistry answers pulls as the OCI distribution specification says.
type fakeRegistry struct {
	*httptest.Server
	mu       sync.Mutex
	content  map[string][]byte // by digest and by tag
	types    map[string]string // media types of manifests
	password string            // if not empty, needed
	breakAt  int               // as in web
	blobs    int               // requests for blobs
}

func newRegistry(t testing.TB) *fakeRegistry {
	r := &fakeRegistry{content: map[string][]byte{}, types: map[string]string{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *fakeRegistry) host() string { return strings.TrimPrefix(r.URL, "http://") }

func (r *fakeRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, word, _ := req.BasicAuth(); r.password != "" && word != r.password {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	parts := strings.Split(req.URL.Path, "/")
	name := parts[len(parts)-1]
	content, ok := r.content[name]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if mediaType := r.types[name]; mediaType != "" {
		w.Header().Set("Docker-Content-Digest", digest.FromBytes(content).String())
		w.Header().Set("Content-Type", mediaType)
	} else {
		w.Header().Set("Content-Type", "application/octet-stream")
		r.blobs++
	}
	if r.types[name] == "" && r.breakAt > 0 {
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:r.breakAt])
		_ = http.NewResponseController(w).Flush()
		r.breakAt = 0
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(content))
}

func (r *fakeRegistry) put(content []byte, mediaType string, tags ...string) ocispec.Descriptor {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := digest.FromBytes(content)
	for _, name := range append(tags, d.String()) {
		r.content[name], r.types[name] = content, mediaType
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(content))}
}

// artifact puts a manifest with one layer per file.
func (r *fakeRegistry) artifact(t testing.TB, tag string, files ...string) ocispec.Descriptor {
	t.Helper()
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: r.put([]byte("{}"), "")}
	m.SchemaVersion = 2
	m.Config.MediaType = ocispec.MediaTypeEmptyJSON
	for _, f := range files {
		layer := r.put([]byte(f), "")
		layer.MediaType = "application/octet-stream"
		m.Layers = append(m.Layers, layer)
	}
	return r.put(marshal(t, m), m.MediaType, tag)
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOCI(t *testing.T) {
	r := newRegistry(t)
	c := open(t, Config{})
	r.artifact(t, "v1", "program")
	for _, ref := range []string{r.host() + "/some/app:v1", "oci://" + r.host() + "/some/app:v1"} {
		path, err := c.Fetch(t.Context(), drivers.Image{Reference: ref}, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, path, []byte("program"))
	}
	if r.blobs != 1 {
		t.Errorf("%d downloads of one content", r.blobs)
	}
	wantClean(t, c)
	r.Close() // out of reach: what the tag had last
	if _, err := c.Fetch(t.Context(), drivers.Image{Reference: r.host() + "/some/app:v1"}, nil); err != nil {
		t.Errorf("registry away: %v, want the cached content", err)
	}
}

func TestOCIChoosesArchitecture(t *testing.T) {
	r := newRegistry(t)
	c := open(t, Config{})
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
	index.SchemaVersion = 2
	for _, arch := range []string{"amd64", "arm64"} {
		d := r.artifact(t, arch, "for "+arch)
		d.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
		index.Manifests = append(index.Manifests, d)
	}
	r.put(marshal(t, index), index.MediaType, "latest")
	image := drivers.Image{Reference: r.host() + "/app", Arch: "arm64"}
	path, err := c.Fetch(t.Context(), image, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, []byte("for arm64"))
	image.Arch = "arm"
	if _, err := c.Fetch(t.Context(), image, nil); !errors.Is(err, drivers.ErrImage) || !strings.Contains(err.Error(), "linux/amd64, linux/arm64") {
		t.Errorf("no such architecture: %v, want ErrImage that lists what there is", err)
	}
}

func TestOCIRefuses(t *testing.T) {
	r := newRegistry(t)
	r.artifact(t, "two", "one", "two")
	r.artifact(t, "good", "program")
	r.artifact(t, "lying", "honest")
	r.content[digest.FromString("honest").String()] = []byte("forged")
	tests := map[string]struct {
		image drivers.Image
		class error
		text  string
	}{
		"layers":   {drivers.Image{Reference: r.host() + "/app:two"}, drivers.ErrImage, "2 layers"},
		"missing":  {drivers.Image{Reference: r.host() + "/app:none"}, drivers.ErrImage, "no such artifact"},
		"checksum": {drivers.Image{Reference: r.host() + "/app:good", SHA256: digestOf(nil)}, drivers.ErrImage, digestOf(nil)},
		"forged":   {drivers.Image{Reference: r.host() + "/app:lying"}, drivers.ErrImage, "instead of"},
	}
	for name, tt := range tests {
		c := open(t, Config{})
		if _, err := c.Fetch(t.Context(), tt.image, nil); !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, want class %v and %q", name, err, tt.class, tt.text)
		}
		wantClean(t, c)
	}
}

func TestOCICredentials(t *testing.T) {
	r := newRegistry(t)
	r.artifact(t, "v1", "program")
	r.password = "secret"
	image := drivers.Image{Reference: r.host() + "/app:v1"}
	for password, class := range map[string]error{"secret": nil, "wrong": drivers.ErrDenied, "": drivers.ErrDenied} {
		cfg := Config{}
		if password != "" {
			cfg.Credentials = map[string]Credential{r.host(): {"user", password}}
		}
		if _, err := open(t, cfg).Fetch(t.Context(), image, nil); !errors.Is(err, class) {
			t.Errorf("password %q: %v, want class %v", password, err, class)
		}
	}
}

func TestOCIResumes(t *testing.T) {
	r := newRegistry(t)
	content := randomText(500_000)
	r.artifact(t, "v1", content)
	r.breakAt = 200_000
	c := open(t, Config{})
	image := drivers.Image{Reference: r.host() + "/app:v1"}
	if _, err := c.Fetch(t.Context(), image, nil); !errors.Is(err, drivers.ErrUnavailable) {
		t.Fatalf("broken download: %v, want ErrUnavailable", err)
	}
	var first drivers.Progress
	path, err := c.Fetch(t.Context(), image, func(p drivers.Progress) {
		if first.Current == 0 {
			first = p
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, []byte(content))
	if first.Current != 0 && first.Current < 200_000 {
		t.Errorf("first progress %+v, want the download to go on where it was", first)
	}
	wantClean(t, c)
}

// TestRealRegistry pulls from the registry at EDGEIO_TEST_REGISTRY (host:port).
func TestRealRegistry(t *testing.T) {
	host := os.Getenv("EDGEIO_TEST_REGISTRY")
	if host == "" {
		if strings.Contains(os.Getenv("EDGEIO_REQUIRE"), "registry") {
			t.Fatal("EDGEIO_TEST_REGISTRY is not set")
		}
		t.Skip("EDGEIO_TEST_REGISTRY is not set")
	}
	repo, err := remote.NewRepository(host + "/edgeio-test/artifact")
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	content := tarOf(t, file("run", "#!/bin/sh\n"))
	push(t, t.Context(), repo, gzipped(t, content))
	path, err := open(t, Config{}).Fetch(t.Context(), drivers.Image{Reference: host + "/edgeio-test/artifact:v1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, path+"/run", []byte("#!/bin/sh\n"))
}

func push(t *testing.T, ctx context.Context, repo *remote.Repository, content []byte) {
	t.Helper()
	layer, err := oras.PushBytes(ctx, repo, "application/gzip", content)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := oras.PackManifest(ctx, repo, oras.PackManifestVersion1_1, "application/vnd.edgeio.test",
		oras.PackManifestOptions{Layers: []ocispec.Descriptor{layer}})
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.Tag(ctx, manifest, "v1"); err != nil {
		t.Fatal(err)
	}
}
