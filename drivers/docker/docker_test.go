package docker_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/docker"
	"github.com/edgeio/edgeio/drivers/drivertest"
)

// daemon returns a client of the daemon that tests share, and the image they
// use; without a daemon the test is skipped or fails, as EDGEIO_REQUIRE says.
func daemon(t testing.TB) (*client.Client, string) {
	t.Helper()
	info := newDriver(t, docker.Config{AgentID: "probe"}).Probe(t.Context())
	drivertest.Require(t, "docker", info.Usable, info.Reason+"; "+info.Remedy)
	api, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatalf("client: %v", err)
	}
	t.Cleanup(func() { _ = api.Close() })
	image := os.Getenv("EDGEIO_TEST_IMAGE")
	if image == "" {
		image = "busybox"
	}
	_, err = api.ImageInspect(t.Context(), image)
	drivertest.Require(t, "docker", err == nil, "image "+image+" is not there; use testbeds/setup/run.sh")
	return api, image
}

func newDriver(t testing.TB, cfg docker.Config) *docker.Driver {
	t.Helper()
	if cfg.AgentID == "" {
		cfg.AgentID = agentID(t.Name() + t.TempDir())
	}
	d, err := docker.New(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// agentID makes an agent's name of whatever tells agents apart.
func agentID(seed string) string {
	sum := sha256.Sum256([]byte(seed))
	return "test-" + hex.EncodeToString(sum[:8])
}

// sweep removes what a test has left of its containers.
func sweep(t testing.TB, d *docker.Driver) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		handles, err := d.List(ctx)
		if err != nil {
			t.Errorf("List at the end: %v", err)
		}
		for _, h := range handles {
			if err := d.Stop(ctx, h, drivers.StopOptions{}); err != nil {
				t.Errorf("Stop at the end: %v", err)
			}
			if err := d.Remove(ctx, h); err != nil {
				t.Errorf("Remove at the end: %v", err)
			}
		}
	})
}

func shellSpec(id, image, script string) drivers.Spec {
	return drivers.Spec{
		ID: id, Generation: 1, Name: "test", Image: drivers.Image{Reference: image},
		Command: []string{"/bin/sh", "-c", script},
	}
}
