package native

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/process"
	"github.com/edgeio/edgeio/drivers/internal/shim"
)

// Create implements drivers.Driver. The image is a file or folder that is there.
func (d *Driver) Create(ctx context.Context, spec drivers.Spec, _ func(drivers.Progress)) (drivers.Handle, error) {
	return d.Keeper.Create(ctx, spec, func(w *process.Workload, l *shim.Launch) (process.Plan, error) {
		return process.Plan{Launch: l}, d.plan(w, l, spec)
	})
}

// plan decides all that edgeshim has to know.
func (d *Driver) plan(w *process.Workload, l *shim.Launch, spec drivers.Spec) error {
	if err := w.CheckLimits(l.Limits); err != nil {
		return err
	}
	home := l.Dir
	if spec.Workdir != "" {
		if !filepath.IsAbs(spec.Workdir) {
			return w.Errorf(drivers.ErrInvalid, "workdir %q is not an absolute path", spec.Workdir)
		}
		l.Dir = spec.Workdir
	}
	if err := d.setUser(w, l, spec.User); err != nil {
		return err
	}
	given, err := giveDevices(w, l, spec.Devices)
	if err != nil {
		return err
	}
	for _, p := range spec.Ports {
		if p.HostPort == 0 {
			p.HostPort = p.Port
		}
		l.Ports = append(l.Ports, shim.Port{Name: p.Name, Protocol: p.Protocol, Port: p.Port, HostPort: p.HostPort})
	}
	maps.Copy(given, spec.Env)
	l.Env = environment(given, home, l)
	l.Env = append(l.Env, shim.Marker+"="+w.UniqueName())
	return setProgram(w, l, spec)
}

// defaultPath is what login programs of Debian give to users.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is env with what every workload gets besides, unless it says
// otherwise: PATH, HOME, EDGEIO_IMAGE and EDGEIO_PORT_*.
func environment(env map[string]string, home string, l *shim.Launch) []string {
	all := map[string]string{"PATH": defaultPath, "HOME": home}
	if l.Image != "" {
		all["EDGEIO_IMAGE"] = l.Image
	}
	for _, p := range l.Ports {
		all["EDGEIO_PORT_"+portVariable(p)] = strconv.Itoa(int(p.HostPort))
	}
	maps.Copy(all, env)
	var list []string
	for _, k := range slices.Sorted(maps.Keys(all)) {
		list = append(list, k+"="+all[k])
	}
	return list
}

func portVariable(p shim.Port) string {
	if p.Name == "" {
		return strconv.Itoa(int(p.Port))
	}
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(p.Name))
}
