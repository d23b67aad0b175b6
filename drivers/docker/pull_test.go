package docker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/docker"
	"github.com/edgeio/edgeio/drivers/drivertest"
)

// registryImage returns the name of an image in a test registry, which the daemon does not hold.
func registryImage(t testing.TB, api *client.Client, variable string) string {
	t.Helper()
	addr := os.Getenv(variable)
	drivertest.Require(t, "docker", addr != "", variable+" is not set; use testbeds/setup/run.sh")
	ref := addr + "/edgeio/busybox:1"
	forget := func() {
		_, _ = api.ImageRemove(context.WithoutCancel(t.Context()), ref, client.ImageRemoveOptions{})
	}
	forget()
	t.Cleanup(forget)
	return ref
}

func TestPull(t *testing.T) {
	api, _ := daemon(t)
	ref := registryImage(t, api, "EDGEIO_TEST_REGISTRY")
	d := newDriver(t, docker.Config{})
	sweep(t, d)
	var signs atomic.Int64
	if _, err := d.Create(t.Context(), shellSpec("pull", ref, "true"), func(drivers.Progress) { signs.Add(1) }); err != nil {
		t.Fatalf("Create: %v", err)
	}
	if signs.Load() == 0 {
		t.Error("no progress was reported")
	}
	img, err := api.ImageInspect(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	_, digest, _ := strings.Cut(img.RepoDigests[0], "@sha256:")
	for name, sum := range map[string]string{"manifest": digest, "id": img.ID} {
		spec := shellSpec("sum-"+name, ref, "true")
		spec.Image.SHA256 = sum
		if _, err := d.Create(t.Context(), spec, nil); err != nil {
			t.Errorf("with the checksum of the %s: %v", name, err)
		}
	}
	spec := shellSpec("missing", strings.Replace(ref, ":1", ":no-such-tag", 1), "true")
	if _, err := d.Create(t.Context(), spec, nil); !errors.Is(err, drivers.ErrImage) || !strings.Contains(err.Error(), "does not have it") {
		t.Errorf("missing tag: %v", err)
	}
}

func TestPullWithCredentials(t *testing.T) {
	api, _ := daemon(t)
	ref := registryImage(t, api, "EDGEIO_TEST_REGISTRY_AUTH")
	host := os.Getenv("EDGEIO_TEST_REGISTRY_AUTH")
	create := func(id string, cfg docker.Config) error {
		d := newDriver(t, cfg)
		sweep(t, d)
		_, err := d.Create(t.Context(), shellSpec(id, ref, "true"), nil)
		return err
	}
	none := filepath.Join(t.TempDir(), "none")
	if err := create("none", docker.Config{AuthFile: none}); !errors.Is(err, drivers.ErrDenied) {
		t.Errorf("without credentials: %v, want ErrDenied", err)
	}
	wrong := map[string]docker.Credentials{host: {Username: "edgeio", Password: "hunter2"}}
	err := create("wrong", docker.Config{AuthFile: none, Registries: wrong})
	if !errors.Is(err, drivers.ErrDenied) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("with a wrong password: %v, want ErrDenied", err)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(`{"auths":{"`+host+`":{"auth":"ZWRnZWlvOmVkZ2Vpby10ZXN0"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := create("file", docker.Config{AuthFile: file}); err != nil {
		t.Errorf("with credentials of a file: %v", err)
	}
	if _, err := api.ImageRemove(t.Context(), ref, client.ImageRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	right := map[string]docker.Credentials{host: {Username: "edgeio", Password: "edgeio-test"}}
	if err := create("right", docker.Config{AuthFile: none, Registries: right}); err != nil {
		t.Errorf("with credentials: %v", err)
	}
}

// TestImageHereNeedsNoRegistry uses images whose registry does not exist.
func TestImageHereNeedsNoRegistry(t *testing.T) {
	api, image := daemon(t)
	d := newDriver(t, docker.Config{})
	sweep(t, d)
	for id, ref := range map[string]string{"fixed": "127.0.0.1:1/here:1", "moving": "127.0.0.1:1/here"} {
		if _, err := api.ImageTag(t.Context(), client.ImageTagOptions{Source: image, Target: ref}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_, _ = api.ImageRemove(context.WithoutCancel(t.Context()), ref, client.ImageRemoveOptions{})
		})
		if _, err := d.Create(t.Context(), shellSpec(id, ref, "true"), nil); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func TestOtherArchitecture(t *testing.T) {
	api, _ := daemon(t)
	ref := "edgeio-test/other-arch:1"
	res, err := api.ImageLoad(t.Context(), imageArchive(t, ref, "s390x"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if _, err := io.Copy(io.Discard, res); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = api.ImageRemove(context.WithoutCancel(t.Context()), ref, client.ImageRemoveOptions{}) })
	d := newDriver(t, docker.Config{})
	sweep(t, d)
	_, err = d.Create(t.Context(), shellSpec("arch", ref, "true"), nil)
	if !errors.Is(err, drivers.ErrImage) || !strings.Contains(err.Error(), "s390x") || !strings.Contains(err.Error(), "this node is") {
		t.Errorf("%v; want ErrImage with both architectures", err)
	}
}

// imageArchive makes an image of one empty layer, as `docker save` writes it.
func imageArchive(t testing.TB, ref, arch string) io.Reader {
	t.Helper()
	layer := make([]byte, 1024) // a tar archive of nothing
	config := fmt.Sprintf(`{"architecture":%q,"os":"linux","config":{"Cmd":["true"]},"rootfs":{"type":"layers","diff_ids":["sha256:%x"]}}`,
		arch, sha256.Sum256(layer))
	manifest := fmt.Sprintf(`[{"Config":"config.json","RepoTags":[%q],"Layers":["layer.tar"]}]`, ref)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for name, content := range map[string][]byte{"manifest.json": []byte(manifest), "config.json": []byte(config), "layer.tar": layer} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &buf
}
