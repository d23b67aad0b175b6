package capabilities

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How long Watch waits for more before it says that something has changed: one
// device that is plugged in makes dozens of events.
const (
	watchQuiet   = 300 * time.Millisecond // without a further event
	watchLongest = 2 * time.Second        // since the first one
)

// Watch calls changed after devices have come or gone, until the context ends,
// and returns nil then. It costs nothing while nothing happens. Calls do not
// overlap; the next Discover after one sees all that led to it.
//
// On the live host it listens to the kernel's own events. Where those are not
// to be had, and for a relocated root, it watches the folders of devices.
func Watch(ctx context.Context, host Host, changed func()) error {
	if host.isLive() {
		if source, err := openUevents(); err == nil {
			return watch(ctx, source, isDeviceEvent, changed)
		}
	}
	source, err := openInotify(host)
	if err != nil {
		return fmt.Errorf("watch for devices below %s: %w", host.root(), err)
	}
	return watch(ctx, source, func([]byte) bool { return true }, changed)
}

// watch passes on what matters of a source's messages, put together.
func watch(ctx context.Context, source io.ReadCloser, matters func([]byte) bool, changed func()) error {
	events := make(chan struct{}, 1)
	failed := make(chan error, 1)
	go func() {
		failed <- listen(source, matters, events)
	}()
	err := settleEvents(ctx, events, failed, changed)
	closeErr := source.Close()
	if ctx.Err() != nil {
		<-failed // listen ends with its source
		return nil
	}
	return errors.Join(err, closeErr)
}

func listen(source io.Reader, matters func([]byte) bool, events chan<- struct{}) error {
	message := make([]byte, 16<<10)
	for {
		n, err := source.Read(message)
		switch {
		case errors.Is(err, unix.ENOBUFS): // events were lost, so there were some
		case err != nil:
			return fmt.Errorf("listen for devices: %w", err)
		case !matters(message[:n]):
			continue
		}
		select {
		case events <- struct{}{}:
		default: // one is waiting already
		}
	}
}

// settleEvents calls changed once events have become quiet.
func settleEvents(ctx context.Context, events <-chan struct{}, failed <-chan error, changed func()) error {
	var quiet <-chan time.Time
	var began time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-events:
			now := time.Now()
			if quiet == nil {
				began = now
			}
			quiet = time.After(max(min(watchQuiet, began.Add(watchLongest).Sub(now)), 0))
		case <-quiet:
			quiet = nil
			changed()
		}
	}
}

// openUevents opens the kernel's multicast of device events, see netlink(7).
func openUevents() (io.ReadCloser, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("open the socket of device events: %w", err)
	}
	const kernel = 1 // the group; udev repeats them to group 2
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernel}); err != nil {
		return nil, errors.Join(fmt.Errorf("listen to device events: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "uevents"), nil
}

// isDeviceEvent tells whether a message of the kernel, "add@/devices/…" and
// then NAME=value, NULs between, is of something that a report has.
func isDeviceEvent(message []byte) bool {
	fields := strings.Split(string(message), "\x00")
	action, _, found := strings.Cut(fields[0], "@")
	if !found || action == "change" { // of batteries, disks in use, screens
		return false
	}
	for _, f := range fields[1:] {
		if subsystem, ok := strings.CutPrefix(f, "SUBSYSTEM="); ok {
			switch subsystem {
			case "usb", "pci", "platform", "drm", "accel", "apex", "hailo_chardev", "fpga_manager", "video4linux", "media", "tty", "i2c", "i2c-dev",
				"spi", "spidev", "gpio", "iio", "hwmon", "tpm", "net", "block", "misc":
				return true
			}
			return false
		}
	}
	return false
}

// watchedFolders are those that change when devices come and go. The ones of
// sysfs change only in fixtures: the kernel makes no events for files there.
var watchedFolders = []string{
	"dev", "dev/dri", "dev/accel", "dev/bus/usb", "sys/bus/usb/devices", "sys/bus/pci/devices", "sys/class/video4linux", "sys/class/tty", "sys/class/net",
}

func openInotify(h Host) (io.ReadCloser, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open inotify: %w", err)
	}
	folders := watchedFolders
	for _, bus := range h.names("dev/bus/usb") {
		folders = append(folders[:len(folders):len(folders)], "dev/bus/usb/"+bus)
	}
	const mask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ONLYDIR
	watched := 0
	for _, dir := range folders {
		if err := h.watchFolder(fd, dir, mask); err == nil {
			watched++
		}
	}
	if watched == 0 {
		return nil, errors.Join(errors.New("there is none of its folders, or no permission"), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "inotify"), nil
}

// watchFolder adds a watch by the folder's open descriptor, so that links do
// not lead out of the root here either.
func (h Host) watchFolder(fd int, dir string, mask uint32) error {
	d, err := h.openAs(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	_, err = unix.InotifyAddWatch(fd, fmt.Sprintf("/proc/self/fd/%d", d.Fd()), mask)
	return errors.Join(err, d.Close())
}

// Changed tells whether two reports of one node differ in what is worth telling
// others: not in what always moves, like free space.
func Changed(before, after Report) bool {
	before.Disk.FreeBytes, after.Disk.FreeBytes = 0, 0
	return !reflect.DeepEqual(before, after)
}
