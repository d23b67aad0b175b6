package docker_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/docker"
	"github.com/edgeio/edgeio/drivers/drivertest"
)

func TestConformance(t *testing.T) {
	api, image := daemon(t)
	var agents []string
	drivertest.Run(t, drivertest.Harness{
		Open: func(t testing.TB, dir string) drivers.Driver {
			id := agentID(dir)
			agents = append(agents, id)
			d, err := docker.New(docker.Config{AgentID: id}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatalf("New: %v", err)
			}
			return d
		},
		Spec: func(_ testing.TB, w drivertest.Workload) drivers.Spec {
			command, args := w.Shell()
			return drivers.Spec{Image: drivers.Image{Reference: image}, Command: command, Args: args}
		},
		Features: []drivers.Feature{
			drivers.FeatureDevices, drivers.FeatureExec, drivers.FeatureTTY, drivers.FeatureStats, drivers.FeaturePorts, drivers.FeatureUser,
			drivers.FeatureLimitCPU, drivers.FeatureLimitMemory, drivers.FeatureLimitPIDs, drivers.FeatureImagePull,
		},
		BadImages: map[string]func(testing.TB) drivers.Spec{
			"unreachable registry": func(testing.TB) drivers.Spec { return badImage("127.0.0.1:1/none:1", "", "") },
			"wrong checksum":       func(testing.TB) drivers.Spec { return badImage(image, strings.Repeat("0", 64), "") },
			"other architecture":   func(testing.TB) drivers.Spec { return badImage(image, "", "arm") },
			"unknown id":           func(testing.TB) drivers.Spec { return badImage("sha256:"+strings.Repeat("0", 64), "", "") },
		},
		Residue: func() []string {
			var left []string
			for _, id := range agents {
				list, err := api.ContainerList(t.Context(), client.ContainerListOptions{
					All: true, Filters: make(client.Filters).Add("label", "io.edgeio.agent="+id),
				})
				if err != nil {
					return []string{err.Error()}
				}
				for _, c := range list.Items {
					left = append(left, c.Names...)
				}
			}
			return left
		},
	})
}

func badImage(reference, sha256, arch string) drivers.Spec {
	return drivers.Spec{Image: drivers.Image{Reference: reference, SHA256: sha256, Arch: arch}}
}
