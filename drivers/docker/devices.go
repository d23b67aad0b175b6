package docker

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
)

// addDevices hands over the devices of a Spec: what the daemon has a way of its
// own for by that, all others at the paths that they have on the node. The
// container's control group keeps it from what it is not given.
func (d *Driver) addDevices(ctx context.Context, op string, spec drivers.Spec, to *container.HostConfig) error {
	rest := spec.Devices
	if d.cfg.Name != "podman" && slices.ContainsFunc(rest, func(d drivers.Device) bool { return nvidiaNumber(d) != "" }) {
		queryCtx, cancel := context.WithTimeout(ctx, d.cfg.QueryTimeout)
		defer cancel()
		info, err := d.api.Load().Info(queryCtx, client.InfoOptions{})
		if err != nil {
			return d.fail(ctx, op, spec.ID, err)
		}
		to.DeviceRequests, rest = deviceRequests(rest, info.Info)
	}
	for _, path := range nodes(rest) {
		st, err := os.Stat(path)
		if err != nil {
			return drivers.Errorf(drivers.ErrUnavailable, op, spec.ID, "device %w; plug it in again, or start its driver", err)
		}
		to.Devices = append(to.Devices, container.DeviceMapping{PathOnHost: path, PathInContainer: path, CgroupPermissions: "rw"})
		// In the group of the device node the container's user can open it,
		// whoever that is; root's group would open more.
		if st, ok := st.Sys().(*syscall.Stat_t); ok && st.Gid != 0 {
			if gid := strconv.Itoa(int(st.Gid)); !slices.Contains(to.GroupAdd, gid) {
				to.GroupAdd = append(to.GroupAdd, gid)
			}
		}
	}
	return nil
}

// nodes are the device nodes of all devices. What is in /sys every container
// can read.
func nodes(devices []drivers.Device) []string {
	var out []string
	for _, d := range devices {
		for _, p := range d.Paths {
			if strings.HasPrefix(p, "/dev/") && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// deviceRequests asks for NVIDIA's GPUs by their CDI names where the daemon
// knows them, else by NVIDIA's runtime where it is there: both bring the user's
// part of the driver along, which a path alone does not. It returns the devices
// that are left.
func deviceRequests(devices []drivers.Device, info system.Info) (requests []container.DeviceRequest, rest []drivers.Device) {
	var cdi, nvidia []string
	_, hasRuntime := info.Runtimes["nvidia"]
	for _, d := range devices {
		number := nvidiaNumber(d)
		name := "nvidia.com/gpu=" + number
		switch {
		case number != "" && slices.ContainsFunc(info.DiscoveredDevices, func(i system.DeviceInfo) bool { return i.Source == "cdi" && i.ID == name }):
			cdi = append(cdi, name)
		case number != "" && hasRuntime:
			nvidia = append(nvidia, number)
		default:
			rest = append(rest, d)
		}
	}
	if len(cdi) > 0 {
		requests = append(requests, container.DeviceRequest{Driver: "cdi", DeviceIDs: cdi})
	}
	if len(nvidia) > 0 {
		requests = append(requests, container.DeviceRequest{Driver: "nvidia", DeviceIDs: nvidia, Capabilities: [][]string{{"gpu"}}})
	}
	return requests, rest
}

// nvidiaNumber is the number that NVIDIA's driver gives a GPU, in the name of
// its device node; empty if the device is none of these.
func nvidiaNumber(d drivers.Device) string {
	if d.Kind != "gpu" {
		return ""
	}
	for _, p := range d.Paths {
		if number, ok := strings.CutPrefix(p, "/dev/nvidia"); ok && number != "" && strings.Trim(number, "0123456789") == "" {
			return number
		}
	}
	return ""
}
