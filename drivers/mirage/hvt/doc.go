// Package hvt runs one Solo5 guest of the target hvt on /dev/kvm, in this
// process: it is what the program edgehvt is made of. x86_64 only, so far.
//
// Run loads the image, opens the devices, gives up all rights that the guest
// does not need, and then runs the guest until it halts. A guest that takes
// this process over finds a seccomp filter that leaves it its own console,
// devices and processor, and that kills the process for anything else.
//
// Next to nothing is allocated while the guest runs, so the program can do
// without garbage collection. A process runs one guest in its life.
//
// Sources of numbers: the public Solo5 hvt ABI, version 2; the Linux KVM API
// (Documentation/virt/kvm/api.rst); the AMD64 manual, volume 2, for what a
// processor wants to see in long mode.
package hvt
