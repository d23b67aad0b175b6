package native

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/process"
	"github.com/edgeio/edgeio/drivers/internal/shim"
)

// giveDevices lets the workload's user open the devices, by the groups that
// the device nodes belong to, and returns the variables that name them.
func giveDevices(w *process.Workload, l *shim.Launch, devices []drivers.Device) (map[string]string, error) {
	env := map[string]string{}
	var paths, nvidia []string
	for _, d := range devices {
		for _, p := range d.Paths {
			if !strings.HasPrefix(p, "/dev/") {
				continue // what is in /sys is there for all to read
			}
			if err := admit(w, l, d, p); err != nil {
				return nil, err
			}
			paths = append(paths, p)
			if number, ok := strings.CutPrefix(p, "/dev/nvidia"); ok && strings.Trim(number, "0123456789") == "" {
				nvidia = append(nvidia, number)
			}
		}
	}
	if len(paths) > 0 {
		env["EDGEIO_DEVICES"] = strings.Join(paths, ":")
	}
	if len(nvidia) > 0 {
		list := strings.Join(nvidia, ",")
		env["NVIDIA_VISIBLE_DEVICES"], env["CUDA_VISIBLE_DEVICES"], env["CUDA_DEVICE_ORDER"] = list, list, "PCI_BUS_ID"
	}
	return env, nil
}

// admit adds the group by which the user may open the device node, unless it
// may without.
func admit(w *process.Workload, l *shim.Launch, d drivers.Device, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return w.Errorf(drivers.ErrUnavailable, "device %s is not there: %s is missing; plug it in again, or start its driver", d.ID, path)
	}
	if err != nil {
		return w.Fail(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !l.SetUser || l.UID == 0 || st.Uid == l.UID || info.Mode().Perm()&0o006 == 0o006 || info.IsDir() {
		return nil
	}
	switch {
	// To be in root's group would open more than this.
	case st.Gid != 0 && info.Mode().Perm()&0o040 != 0:
		if l.GID != st.Gid && !slices.Contains(l.Groups, st.Gid) {
			l.Groups = append(l.Groups, st.Gid)
		}
	case info.Mode().Perm()&0o004 == 0:
		return w.Errorf(drivers.ErrDenied, "device %s: user %d may not open %s, whose mode is %s; give it a group of its own by a udev rule, or run the job as root",
			d.ID, l.UID, path, info.Mode())
	}
	return nil
}
