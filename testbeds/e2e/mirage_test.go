package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edgeio/edgeio/drivers/drivertest"
	"github.com/edgeio/edgeio/drivers/mirage/solo5/guest"
	"github.com/edgeio/edgeio/proto/job"
)

// unikernel is a job that runs a guest; further lines are added to the file.
func unikernel(t *testing.T, name string, image []byte, more ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".hvt")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("api_version: v0.1\njob_name: %s\nimage: file://%s\nimage_runtime: unikernel\n%s\n", name, path, strings.Join(more, "\n"))
}

func needKVM(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	drivertest.Require(t, "kvm", err == nil, fmt.Sprint(err))
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestUnikernel(t *testing.T) {
	needKVM(t)
	t.Parallel()
	tr, _, _ := garching(t)
	want(t, tr.Ctl("node", "show", "e580"), 0, "mirage")

	t.Run("service", func(t *testing.T) {
		tr := tr.In(t)
		r := tr.CtlWith(unikernel(t, "greeter", guest.HVT(nil, guest.PrintCommandLine(), guest.Print("\n"), guest.SleepForever()), "args: [--hello=world]"), "deploy", "--wait", "-")
		want(t, r, 0)
		tr.Await("its console is there", func() error {
			if r := tr.Ctl("job", "logs", "greeter"); r.Stdout != "--hello=world\n" {
				return errors.New(r.String())
			}
			return nil
		})
		want(t, tr.Ctl("job", "terminate", "--wait", "greeter"), 0)
	})
	t.Run("batch completes", func(t *testing.T) {
		tr := tr.In(t)
		want(t, tr.CtlWith(unikernel(t, "fine", guest.HVT(nil, guest.Print("done\n")), "kind: batch"), "deploy", "--wait=COMPLETED", "--timeout", "20s", "-"), 0)
		want(t, tr.Ctl("job", "logs", "fine"), 0, "done\n")
	})
	t.Run("batch fails", func(t *testing.T) {
		tr := tr.In(t)
		id := tr.Deploy(unikernel(t, "poor", guest.HVT(nil, guest.Exit(9)), "kind: batch", "restart: never"))
		j := tr.AwaitState(id, job.Failed)
		if in := j.Instances[0]; in.Exit == nil || in.Exit.Code != 9 {
			t.Errorf("%+v", in)
		}
		legal(t, j)
	})
	t.Run("no image", func(t *testing.T) {
		tr := tr.In(t)
		id := tr.Deploy(unikernel(t, "text", []byte("no unikernel\n"), "restart: never"))
		if j := tr.AwaitState(id, job.Failed); !strings.Contains(fmt.Sprint(j.Instances[0].History), "Solo5") {
			t.Errorf("the reason does not say what is wrong: %+v", j.Instances[0].History)
		}
	})
}
