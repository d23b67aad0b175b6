package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
)

// undoTimeout is how long a cancelled Create may take to find out whether the
// daemon has made the container, and to remove it.
const undoTimeout = 5 * time.Second

// Create implements drivers.Driver.
func (d *Driver) Create(ctx context.Context, spec drivers.Spec, progress func(drivers.Progress)) (drivers.Handle, error) {
	const op = "create"
	if err := spec.Check(); err != nil {
		return drivers.Handle{}, drivers.Errorf(drivers.ErrInvalid, op, spec.ID, "%w", err)
	}
	if err := checkUTF8(spec); err != nil {
		return drivers.Handle{}, drivers.Errorf(drivers.ErrUnsupported, op, spec.ID, "%w", err)
	}
	opts, err := d.containerOptions(spec)
	if err != nil {
		return drivers.Handle{}, drivers.Errorf(drivers.ErrInvalid, op, spec.ID, "%w", err)
	}
	if err := d.addDevices(ctx, op, spec, opts.HostConfig); err != nil {
		return drivers.Handle{}, err
	}
	w, err := wantedImage(spec.Image)
	if err != nil {
		return drivers.Handle{}, drivers.Errorf(drivers.ErrInvalid, op, spec.ID, "%w", err)
	}
	opts.Config.Image, err = d.ensureImage(ctx, op, spec.ID, w, progress)
	if err != nil {
		return drivers.Handle{}, err
	}
	if err := ctx.Err(); err != nil {
		return drivers.Handle{}, d.fail(ctx, op, spec.ID, err)
	}

	id, err := d.createContainer(ctx, opts)
	switch {
	case errdefs.IsConflict(err):
		return d.existing(ctx, op, spec, opts.Name)
	case errdefs.IsNotFound(err):
		return drivers.Handle{}, drivers.Errorf(drivers.ErrImage, op, spec.ID, "image %s: %w", w.reference, plain(err))
	case err != nil:
		return drivers.Handle{}, d.fail(ctx, op, spec.ID, err)
	}
	h, ok := d.handleOf(id, opts.Config.Labels)
	if !ok {
		return drivers.Handle{}, drivers.Errorf(drivers.ErrInvalid, op, spec.ID, "container %.12s cannot be named by a handle", id)
	}
	return h, nil
}

// createContainer makes the container, or, if ctx ends first, leaves none. The
// daemon finishes a request whose client has gone, so the request is not
// cancelled but waited for, and its outcome undone.
func (d *Driver) createContainer(ctx context.Context, opts client.ContainerCreateOptions) (string, error) {
	detached, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), d.cfg.ChangeTimeout, context.DeadlineExceeded)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(undoTimeout, cancel)
	})
	defer stop()

	api := d.api.Load()
	res, err := api.ContainerCreate(detached, opts)
	if ctx.Err() == nil {
		for _, w := range res.Warnings {
			d.log.Debug("the daemon warns", "container", opts.Name, "warning", w)
		}
		return res.ID, err
	}
	if err != nil {
		return "", ctx.Err()
	}
	undo, cancelUndo := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancelUndo()
	if _, err := api.ContainerRemove(undo, res.ID, client.ContainerRemoveOptions{RemoveVolumes: true}); err != nil && !errdefs.IsNotFound(err) {
		d.log.Warn("a container of a cancelled creation is left", "container", opts.Name, "err", err)
	}
	return "", ctx.Err()
}

// existing returns the handle of the container that has the name already, if it is that of the Spec.
func (d *Driver) existing(ctx context.Context, op string, spec drivers.Spec, name string) (drivers.Handle, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.QueryTimeout)
	defer cancel()
	res, err := d.api.Load().ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if errdefs.IsNotFound(err) || err == nil && res.Container.State != nil && res.Container.State.Status == container.StateRemoving {
		return drivers.Handle{}, drivers.Errorf(drivers.ErrUnavailable, op, spec.ID, "the container %s is just being removed: try again", name)
	}
	if err != nil {
		return drivers.Handle{}, d.fail(ctx, op, spec.ID, err)
	}
	if res.Container.Config != nil {
		h, ok := d.handleOf(res.Container.ID, res.Container.Config.Labels)
		if ok && h.ID == spec.ID && h.Generation == spec.Generation {
			return h, nil
		}
	}
	return drivers.Handle{}, drivers.Errorf(drivers.ErrConflict, op, spec.ID,
		"the name %s is taken by a container that is not of this agent: remove or rename it", name)
}

// containerOptions turns a Spec into what the daemon is asked for, but for the image.
func (d *Driver) containerOptions(spec drivers.Spec) (client.ContainerCreateOptions, error) {
	ports, err := json.Marshal(spec.Ports)
	if err != nil {
		return client.ContainerCreateOptions{}, fmt.Errorf("ports: %w", err)
	}
	exposed, bindings, err := portMap(spec.Ports)
	if err != nil {
		return client.ContainerCreateOptions{}, err
	}
	labels := maps.Clone(spec.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[labelAgent] = d.cfg.AgentID
	labels[labelInstance] = spec.ID
	labels[labelGeneration] = strconv.FormatUint(spec.Generation, 10)
	labels[labelJob] = spec.Name
	if len(spec.Ports) > 0 {
		labels[labelPorts] = string(ports)
	}
	return client.ContainerCreateOptions{
		Name: containerName(spec.ID, spec.Generation),
		Config: &container.Config{
			Entrypoint:   spec.Command,
			Cmd:          spec.Args,
			Env:          environ(spec.Env),
			WorkingDir:   spec.Workdir,
			User:         spec.User,
			Labels:       labels,
			ExposedPorts: exposed,
			// A health check of the image would cost a process every few seconds that nobody looks at.
			Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		},
		HostConfig: &container.HostConfig{
			LogConfig:     d.logConfig(),
			PortBindings:  bindings,
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
			Resources:     limits(spec.Resources),
		},
	}, nil
}

// checkUTF8 checks the Spec's texts: the API is JSON, which has no way to say
// bytes that are not UTF-8; the daemon would run something else than was asked for.
func checkUTF8(spec drivers.Spec) error {
	for _, s := range slices.Concat(spec.Command, spec.Args, []string{spec.Workdir, spec.User, spec.Name}) {
		if !utf8.ValidString(s) {
			return fmt.Errorf("%q is not UTF-8; Docker takes nothing else", s)
		}
	}
	for _, texts := range []map[string]string{spec.Env, spec.Labels} {
		for k, v := range texts {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				return fmt.Errorf("the value of %q is not UTF-8; Docker takes nothing else", k)
			}
		}
	}
	return nil
}

// environ returns the environment as the daemon takes it, sorted.
func environ(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, k+"="+env[k])
	}
	return out
}

func portMap(ports []drivers.Port) (network.PortSet, network.PortMap, error) {
	if len(ports) == 0 {
		return nil, nil, nil
	}
	exposed, bindings := network.PortSet{}, network.PortMap{}
	for _, p := range ports {
		port, ok := network.PortFrom(p.Port, network.IPProtocol(p.Protocol))
		if !ok {
			return nil, nil, fmt.Errorf("port %d/%s: no protocol", p.Port, p.Protocol)
		}
		host := ""
		if p.HostPort != 0 {
			host = strconv.Itoa(int(p.HostPort))
		}
		exposed[port] = struct{}{}
		bindings[port] = append(bindings[port], network.PortBinding{HostPort: host})
	}
	return exposed, bindings, nil
}

// limits translates resources. The CPU limit is given as quota and period, for
// the daemon refuses NanoCPUs beyond what the machine has, where such a limit is
// merely none, and below a hundredth of a core.
func limits(r drivers.Resources) container.Resources {
	var out container.Resources
	if r.CPUMillis > 0 {
		// Microseconds; the kernel wants a quota of 1 ms at least and a period of 1 s at most.
		out.CPUPeriod = 100_000
		if r.CPUMillis < 10 {
			out.CPUPeriod = 1_000_000
		}
		out.CPUQuota = r.CPUMillis * out.CPUPeriod / 1000
	}
	if r.MemoryBytes > 0 {
		out.Memory, out.MemorySwap = r.MemoryBytes, r.MemoryBytes
	}
	if r.PIDs > 0 {
		out.PidsLimit = &r.PIDs
	}
	return out
}

// logConfig chooses the log driver. Docker's "local" keeps the exact bytes,
// which "json-file" does not: it replaces what is not UTF-8.
func (d *Driver) logConfig() container.LogConfig {
	size := strconv.FormatInt(d.cfg.LogMaxSize, 10)
	if d.cfg.Name == "podman" {
		return container.LogConfig{Type: "k8s-file", Config: map[string]string{"max-size": size}}
	}
	return container.LogConfig{Type: "local", Config: map[string]string{
		"max-size": size,
		"max-file": strconv.Itoa(d.cfg.LogMaxFiles),
	}}
}
