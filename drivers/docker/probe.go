package docker

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"

	"github.com/edgeio/edgeio/drivers"
)

// features are those that the driver passes the conformance suite with, sorted.
var features = []drivers.Feature{
	drivers.FeatureDevices, drivers.FeatureExec, drivers.FeatureImagePull, drivers.FeatureLimitCPU, drivers.FeatureLimitMemory,
	drivers.FeatureLimitPIDs, drivers.FeaturePorts, drivers.FeatureStats, drivers.FeatureTTY, drivers.FeatureUser,
}

// Probe implements drivers.Driver.
func (d *Driver) Probe(ctx context.Context) drivers.Info {
	info := drivers.Info{Name: d.cfg.Name, Endpoint: d.cfg.Host, Features: append([]drivers.Feature(nil), features...)}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.ProbeTimeout)
	defer cancel()

	conn, err := d.dial(ctx)
	if err != nil {
		info.Reason, info.Remedy = d.explainDial(err)
		return info
	}
	_ = conn.Close()

	api := d.api.Load()
	ping, err := api.Ping(ctx, client.PingOptions{})
	if err != nil {
		info.Reason, info.Remedy = d.explainAnswer(ctx, err)
		return info
	}
	if ping.APIVersion != "" && versions.LessThan(ping.APIVersion, client.MinAPIVersion) {
		info.Reason = "its API version " + ping.APIVersion + " is too old; needed is " + client.MinAPIVersion + " (Docker 19.03)"
		info.Remedy = "install a newer " + d.cfg.Name
		return info
	}
	if !d.negotiated.CompareAndSwap("", ping.APIVersion) && d.negotiated.Load() != ping.APIVersion {
		if err := d.renewClient(ping.APIVersion); err != nil {
			info.Reason = err.Error()
			return info
		}
		api = d.api.Load()
	}
	v, err := api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		info.Reason, info.Remedy = d.explainAnswer(ctx, err)
		return info
	}
	info.Version = v.Version
	if v.Os != "" && v.Os != "linux" {
		info.Reason, info.Remedy = "it runs "+v.Os+" containers", "switch it to Linux containers"
		return info
	}
	info.Usable = true
	return info
}

func (d *Driver) explainDial(err error) (reason, remedy string) {
	title := map[string]string{"docker": "Docker", "podman": "Podman"}[d.cfg.Name]
	path := d.cfg.socketPath()
	switch {
	case errors.Is(err, syscall.EACCES), errors.Is(err, os.ErrPermission):
		return "no permission to use " + path,
			"run the agent as root, or add its user to the socket's group (" + d.cfg.Name + ") and start it again"
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return d.hung(), "restart it: systemctl restart " + d.cfg.Name
	case path == "":
		return "nothing answers at " + d.cfg.Host, "check the address, and that the daemon listens there"
	case !d.installed():
		return title + " is not installed (no " + path + ")", "install it: apt-get install " + d.packageName()
	}
	return title + " is not running (nothing listens on " + path + ")", "start it: systemctl start " + d.unitName()
}

func (d *Driver) explainAnswer(ctx context.Context, err error) (reason, remedy string) {
	if ctx.Err() != nil {
		return d.hung(), "restart it: systemctl restart " + d.unitName()
	}
	return "it answers with an error: " + plain(err).Error(), "see its log: journalctl -u " + d.unitName()
}

func (d *Driver) hung() string {
	return "it does not answer within " + d.cfg.ProbeTimeout.Round(time.Millisecond).String()
}

func (d *Driver) installed() bool {
	program := map[string]string{"docker": "dockerd", "podman": "podman"}[d.cfg.Name]
	if _, err := exec.LookPath(program); err == nil {
		return true
	}
	// A plain user's PATH often lacks the folder where daemons are.
	for _, dir := range []string{"/usr/sbin/", "/usr/local/sbin/", "/usr/bin/"} {
		if _, err := os.Stat(dir + program); err == nil {
			return true
		}
	}
	return false
}

func (d *Driver) packageName() string {
	if d.cfg.Name == "podman" {
		return "podman"
	}
	return "docker.io"
}

func (d *Driver) unitName() string {
	if d.cfg.Name == "podman" {
		return "podman.socket"
	}
	return "docker"
}

// Watch implements drivers.Watcher: it notices at once when the daemon goes
// away or comes back.
func (d *Driver) Watch(ctx context.Context, changed func()) error {
	sub := d.events.subscribe("")
	defer d.events.unsubscribe(sub)
	for {
		if err := sub.next(ctx, false); err != nil {
			return err
		}
		changed()
	}
}
