package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// Targets, and how often things are done.
const (
	dockerPairs       = 20
	dockerTargetRatio = 1.1
	fifty             = 50
	fiftyRounds       = 3
	fiftyTargetRatio  = 1.0
	apiWorkers        = 8
)

// containers run this; it ends at once when asked to.
var containerCommand = []string{"sh", "-c", "trap exit TERM; sleep 3600 & wait"}

func dockerFile(name, image string) string {
	return fmt.Sprintf(`api_version: v0.1
job_name: %s
image: %s
image_runtime: docker
command: [%q, %q, %q]
requirements: {memory: 16}
`, name, image, containerCommand[0], containerCommand[1], containerCommand[2])
}

// bare starts containers with nothing but the Docker API.
type bare struct {
	api   *client.Client
	image string
}

// newBare connects to the daemon, or says why this cannot be measured here.
func newBare(ctx context.Context) (*bare, error) {
	image := os.Getenv("EDGEIO_TEST_IMAGE")
	if image == "" {
		return nil, &skipped{"EDGEIO_TEST_IMAGE names no image; run: make bench"}
	}
	api, err := client.New(client.FromEnv)
	if err != nil {
		return nil, &skipped{err.Error()}
	}
	if _, err := api.ImageInspect(ctx, image); err != nil {
		return nil, errors.Join(&skipped{err.Error()}, api.Close())
	}
	return &bare{api, image}, nil
}

// start creates and starts a container as the agent's driver does for the
// job of dockerFile. It returns the container's id.
func (d *bare) start(ctx context.Context, name string) (string, error) {
	made, err := d.api.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: name,
		Config: &container.Config{
			Image: d.image, Entrypoint: containerCommand, Labels: map[string]string{"edgeio.bench": name},
			Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		},
		HostConfig: &container.HostConfig{
			LogConfig: container.LogConfig{Type: "local"},
			Resources: container.Resources{Memory: 16_000_000, MemorySwap: 16_000_000},
		},
	})
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", name, err)
	}
	if _, err := d.api.ContainerStart(ctx, made.ID, client.ContainerStartOptions{}); err != nil {
		return made.ID, fmt.Errorf("start container %s: %w", name, err)
	}
	return made.ID, nil
}

// remove also works when the measurement was interrupted.
func (d *bare) remove(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fellTimeout)
	defer cancel()
	_, err := d.api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true})
	return err
}

// one is the time that one container takes.
func (d *bare) one(ctx context.Context, name string) (time.Duration, error) {
	begin := time.Now()
	id, err := d.start(ctx, name)
	took := time.Since(begin)
	return took, errors.Join(err, d.remove(ctx, id))
}

// fifty is the time that fifty containers take, eight at a time.
func (d *bare) fifty(ctx context.Context, prefix string) (time.Duration, error) {
	numbers := make(chan int, fifty)
	for i := range fifty {
		numbers <- i
	}
	close(numbers)
	var mu sync.Mutex
	var ids []string
	begin := time.Now()
	err := inParallel(apiWorkers, func() error {
		for i := range numbers {
			id, err := d.start(ctx, fmt.Sprintf("%s-%d", prefix, i))
			mu.Lock()
			ids = append(ids, id)
			mu.Unlock()
			if err != nil {
				return err
			}
		}
		return nil
	})
	took := time.Since(begin)
	for _, id := range ids {
		err = errors.Join(err, d.remove(ctx, id))
	}
	return took, err
}

// plantWithDocker starts a tree beside a client of the daemon. The caller
// calls end, whether there is an error or not.
func (b *bench) plantWithDocker(ctx context.Context) (d *bare, t *tree, end func() error, err error) {
	if d, err = newBare(ctx); err != nil {
		return nil, nil, func() error { return nil }, err
	}
	t, err = b.plant(ctx, nil)
	return d, t, func() error { return errors.Join(t.fell(ctx), d.api.Close()) }, err
}

// measureDocker takes turns between jobs and bare containers.
func measureDocker(ctx context.Context, b *bench) (figures []figure, err error) {
	d, t, end, err := b.plantWithDocker(ctx)
	defer func() { err = errors.Join(err, end()) }()
	if err != nil {
		return nil, err
	}
	var ours, theirs []time.Duration
	for i := range 1 + dockerPairs { // the first of each warms up caches
		name := fmt.Sprintf("bench-%d-docker-%d", os.Getpid(), i)
		id, took, err := t.deployed(ctx, name, dockerFile(name, d.image))
		if err == nil {
			err = t.terminated(ctx, id, name)
		}
		if err != nil {
			return nil, err
		}
		ours = append(ours, took)
		if took, err = d.one(ctx, name); err != nil {
			return nil, err
		}
		theirs = append(theirs, took)
	}
	api := median("docker: create and start by the API alone", theirs[1:], 0)
	own := median("docker: POST to RUNNING at the root", ours[1:], 0)
	return []figure{api, own, atMost("docker: ratio of the two", own.Value/api.Value, "×", dockerTargetRatio)}, nil
}

// measureFifty takes turns between fifty jobs and fifty bare containers. Of
// each, the best round counts.
func measureFifty(ctx context.Context, b *bench) (figures []figure, err error) {
	d, t, end, err := b.plantWithDocker(ctx)
	defer func() { err = errors.Join(err, end()) }()
	if err != nil {
		return nil, err
	}
	var ours, theirs []time.Duration
	for round := range fiftyRounds {
		prefix := fmt.Sprintf("bench-%d-fifty-%d", os.Getpid(), round)
		took, err := d.fifty(ctx, prefix)
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, took)
		files := map[string]string{}
		for i := range fifty {
			name := fmt.Sprintf("%s-%d", prefix, i)
			files[name] = dockerFile(name, d.image)
		}
		if took, err = t.deployAll(ctx, files); err != nil {
			return nil, err
		}
		ours = append(ours, took)
		if err := t.terminateAll(ctx); err != nil {
			return nil, err
		}
	}
	api, own := milliseconds(percentile(theirs, 0)), milliseconds(percentile(ours, 0))
	return []figure{
		{Name: "docker: 50 by the API alone, 8 at a time", Value: api, Unit: "ms"},
		{Name: "docker: 50 jobs posted at once, all RUNNING", Value: own, Unit: "ms"},
		atMost("docker: ratio of the two", own/api, "×", fiftyTargetRatio),
	}, nil
}
