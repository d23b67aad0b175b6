package docker_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/docker"
)

// BenchmarkStart compares the driver's way to a running container with the two
// calls of the API that are the least it takes.
func BenchmarkStart(b *testing.B) {
	api, image := daemon(b)
	b.Run("driver", func(b *testing.B) { eachStart(b, driverStart(b, image)) })
	b.Run("api", func(b *testing.B) { eachStart(b, apiStart(b, api, image)) })
}

// BenchmarkStart50 starts fifty at once: through the driver all together,
// through the API as a careful client would, eight at a time.
func BenchmarkStart50(b *testing.B) {
	api, image := daemon(b)
	b.Run("driver", func(b *testing.B) { fifty(b, 50, driverStart(b, image)) })
	b.Run("api-8", func(b *testing.B) { fifty(b, 8, apiStart(b, api, image)) })
	b.Run("api-50", func(b *testing.B) { fifty(b, 50, apiStart(b, api, image)) })
}

// starter starts container n and returns what removes it.
type starter func(b *testing.B, n int) (remove func())

func driverStart(b *testing.B, image string) starter {
	d := newDriver(b, docker.Config{})
	sweep(b, d)
	return func(b *testing.B, n int) func() {
		h, err := d.Create(b.Context(), shellSpec(fmt.Sprintf("bench-%d-%d", b.N, n), image, "sleep 1000"), nil)
		if err == nil {
			err = d.Start(b.Context(), h)
		}
		if err != nil {
			b.Error(err)
		}
		return func() {
			if err := d.Stop(b.Context(), h, drivers.StopOptions{}); err != nil {
				b.Error(err)
			}
			if err := d.Remove(b.Context(), h); err != nil {
				b.Error(err)
			}
		}
	}
}

func apiStart(_ *testing.B, api *client.Client, image string) starter {
	return func(b *testing.B, _ int) func() {
		made, err := api.ContainerCreate(b.Context(), client.ContainerCreateOptions{
			Config:     &container.Config{Image: image, Entrypoint: []string{"/bin/sh", "-c", "sleep 1000"}},
			HostConfig: &container.HostConfig{LogConfig: container.LogConfig{Type: "local"}},
		})
		if err == nil {
			_, err = api.ContainerStart(b.Context(), made.ID, client.ContainerStartOptions{})
		}
		if err != nil {
			b.Error(err)
		}
		return func() {
			if _, err := api.ContainerRemove(b.Context(), made.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
				b.Error(err)
			}
		}
	}
}

func eachStart(b *testing.B, start starter) {
	for n := range b.N {
		b.StartTimer()
		remove := start(b, n)
		b.StopTimer()
		remove()
	}
}

func fifty(b *testing.B, parallel int, start starter) {
	for range b.N {
		removes := make([]func(), 50)
		b.StartTimer()
		inParallel(parallel, len(removes), func(i int) { removes[i] = start(b, i) })
		b.StopTimer()
		inParallel(4, len(removes), func(i int) { removes[i]() })
	}
}

func inParallel(workers, n int, do func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range workers {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
