package docker

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/moby/api/types/container"

	"github.com/edgeio/edgeio/drivers"
)

// resources are the limits, and the devices at the paths that they have on the
// node. The container's control group keeps it from all others.
func resources(spec drivers.Spec) container.Resources {
	out := limits(spec.Resources)
	for _, path := range nodes(spec.Devices) {
		out.Devices = append(out.Devices, container.DeviceMapping{PathOnHost: path, PathInContainer: path, CgroupPermissions: "rw"})
	}
	return out
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

// deviceGroups are the groups, root's aside, that the device nodes belong to:
// in them the container's user can open what it is given, whoever it is.
func deviceGroups(devices []drivers.Device) ([]string, error) {
	var out []string
	for _, path := range nodes(devices) {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("device %s: %w; plug it in again, or start its driver", path, err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Gid != 0 {
			if gid := strconv.Itoa(int(st.Gid)); !slices.Contains(out, gid) {
				out = append(out, gid)
			}
		}
	}
	return out, nil
}
