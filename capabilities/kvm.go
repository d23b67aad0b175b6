package capabilities

import (
	"context"
	"errors"
	"io/fs"
)

// kvm finds whether virtual machines run here, by running a very small one: the
// device node is there on machines whose firmware has switched virtualisation
// off, and in virtual machines that cannot nest.
type kvm struct{}

func (kvm) Name() string { return "kvm" }

func (kvm) Probe(ctx context.Context, h Host) (func(*Report), error) {
	var k KVM
	switch {
	case !h.exists("dev/kvm"):
		k = KVM{Works: No, Reason: "there is no /dev/kvm: the kernel has no KVM, or the firmware has switched virtualisation off"}
	case !h.isLive():
		k.Reason = "not tried on another root"
	default:
		k = tryKVM(ctx)
	}
	return func(r *Report) { r.KVM = k }, nil
}

func tryKVM(ctx context.Context) KVM {
	err := runTinyVM(ctx)
	switch {
	case err == nil:
		return KVM{Works: Yes}
	case errors.Is(err, errors.ErrUnsupported):
		return KVM{Reason: "not tried on this architecture"}
	case errors.Is(err, fs.ErrPermission):
		return KVM{Works: No, Reason: "no permission for /dev/kvm: add the user to the group kvm"}
	}
	return KVM{Works: No, Reason: clean(err.Error())}
}
