#!/bin/sh
# Runs this crate's tests on an emulated processor that has AVX-512 VNNI, for whoever's own has not.
#
# The tests hold every instruction set that the processor has to the portable code's bits and leave out the
# rest; on most machines that is AVX-512. Here the Bochs emulator plays an Ice Lake, boots Debian's kernel with
# the test programs as its only work, and writes what they say to a serial port.
#
# What it proves: `Isa::detect()` chooses Avx512Vnni there, no test leaves it out, and every test of the library
# and of `tests/` passes: products of 1 to 33 rows in ragged shapes, attention, norms. What it cannot prove:
# speed, and that a real processor does as Bochs says it does.
#
# Needs an x86-64 Debian 12 with network and cargo, and
#   apt-get install --no-install-recommends bochs bochs-term bochsbios isolinux syslinux-common xorriso cpio
# Downloads two more packages by `apt-get download` (28 MB, the guest's kernel and shell), unpacked but not
# installed. Everything stands in a temporary folder. Takes five minutes on a busy core, two of them Bochs; Bochs is
# given at most fifteen.
#
# Usage: services/kernel/emulate.sh        (exit status 0: proved)
set -eu

crate=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
cd "$folder"
mkdir -p debian guest/tests iso/isolinux

echo "building the tests, statically linked" >&2
(
    cd "$crate"
    RUSTFLAGS="-C target-feature=+crt-static" CARGO_TARGET_DIR="$folder/target" \
        cargo test -p csd-kernel --target x86_64-unknown-linux-gnu --no-run --message-format=json
) >messages 2>build.log || { cat build.log >&2; exit 1; }
for program in $(grep -o '"executable":"[^"]*"' messages | cut -d'"' -f4); do
    case $program in
        */examples/rows) strip -o guest/rows "$program" ;; # its first line names the instruction set
        */deps/*) name=${program##*/} && strip -o "guest/tests/${name%-*}" "$program" ;;
    esac
done

echo "fetching the guest's kernel and shell" >&2
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
apt-get download -qq "$kernel" busybox-static
for package in ./*.deb; do dpkg-deb --extract "$package" debian; done
install -D debian/bin/busybox guest/bin/busybox
cp debian/boot/vmlinuz-* iso/vmlinuz

cat >guest/init <<'END'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox grep -m 1 "model name" /proc/cpuinfo
/bin/busybox grep -m 1 ^flags /proc/cpuinfo | /bin/busybox grep -owE "avx2|f16c|avx512(f|bw|vl|_vnni)"
echo "detected: $(/rows q8_0 mini 1 2>/dev/null | /bin/busybox head -n 1)"
export PROPTEST_DISABLE_FAILURE_PERSISTENCE=true
for test in /tests/*; do
    $test --nocapture --test-threads=1 && echo "passed: $test"
done
echo "the end"
/bin/busybox sleep 1
/bin/busybox reboot -f
END
chmod +x guest/init
(cd guest && find . | cpio --quiet -o -H newc | gzip -1) >iso/initrd

# Ice Lake as Bochs 2.7 has it is not quite a processor, hence:
#   pku, xsavec, noxsaves: it reports protection keys as saved state of no size, and the compact form's size
#                          wrong; at either the kernel gives up XSAVE, and AVX with it;
#   fsrm: the BIOS leaves fast strings off, and then the kernel's memmove must not take short ones for fast.
# A reboot is a triple fault, at which Bochs ends.
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 iso/isolinux/
cat >iso/isolinux/isolinux.cfg <<'END'
default test
label test
    kernel /vmlinuz
    append initrd=/initrd console=ttyS0,115200 loglevel=4 mitigations=off noxsaves clearcpuid=fsrm,xsavec,pku,ospke panic=-1 reboot=t
END
xorriso -as mkisofs -quiet -o boot.iso -b isolinux/isolinux.bin -c isolinux/boot.cat \
    -no-emul-boot -boot-load-size 4 -boot-info-table iso 2>xorriso.log

cat >bochsrc <<'END'
display_library: term
cpu: model=corei7_icelake_u, ips=50000000, reset_on_triple_fault=0
memory: guest=512, host=512
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=serial
log: bochs.log
panic: action=fatal
END
echo continue >commands # Debian's Bochs has its debugger built in and waits for a word
echo "emulating" >&2
TERM=xterm timeout 900 nice -n 19 \
    script -qec "stty rows 50 cols 132; bochs -q -f bochsrc -rc commands" /dev/null </dev/null >screen 2>&1 || true

[ -s serial ] || { cat screen >&2; exit 1; }
tr -d '\r' <serial | tee said
for line in "^detected: .*Avx512Vnni" $(cd guest && find tests -type f | sed 's|.*|^passed:./&$|') "^the end"; do
    grep -q "$line" said || { echo "NOT PROVED: no line '$line'" >&2; exit 1; }
done
! grep -q "no Avx512Vnni" said || { echo "NOT PROVED: AVX-512 was left out" >&2; exit 1; }
echo "PROVED: AVX-512 gives the portable code's bits" >&2
