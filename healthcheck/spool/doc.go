// Package spool takes services out and back by hand, by means of files: a service
// is down while there is a file of its name in a directory. The files are those of
// hacheck, so that its haup, hadown and hastatus, and ours in examples/hacheck, work
// on the same directory.
//
//	dir, err := spool.New("/var/spool/hacheck")
//	err = dir.Down("orders", 0, "moving house", time.Now().Add(time.Hour))
//	stop, err := dir.Follow(ctx, checker, spool.Following{Service: "orders"})
//
// # The files
//
//	all            every service
//	orders         one service, on all of its ports
//	orders:8080    one service on one port
//
// A file holds a JSON object with reason, expiration and creation, the latter two in
// seconds of Unix time or null. A file with other text is down as well, and the text
// is its reason: that is how hacheck began, and what echo and touch make. Files that
// begin with a dot are none of ours.
//
// The first of the three that is there and has not expired says why. Taking a
// service down again for the same reason keeps its creation time, so that one can
// prolong it and still see how long it has been down. Files are replaced as a whole,
// so that no reader sees half of one.
//
// A file that has expired counts for nothing and stays where it is. hacheck removes
// it as it reads; that can remove what somebody has renewed at that very moment, and
// needs the right to write.
//
// # Bad files
//
// A file that is there means down, whatever else is wrong with it: to serve from a
// machine that somebody has taken out is worse than to do without it. What is wrong
// is an error of its own besides:
//
//	cut off, or fields of another kind    ErrContent   down, without an end if that cannot be read
//	owned by neither root nor this user   ErrOwner     down
//	a link, a folder, a pipe              ErrKind      down; it is not opened
//	longer than 64 KiB                    ErrTooLong   down
//	not to be read                        its error    down (for hacheck: up)
//	a name that is no service's           ErrName      in List only; counts for nothing
//
// That files of strangers count is how hacheck has it: who may write to the
// directory may take services down, and may remove the files of others as well. The
// error tells whose it is. New refuses a directory that everybody may write to.
//
// A directory that cannot be read says nothing: Status is up and an error, and
// Follow keeps to what it has read before.
//
// # Time
//
// When a file expires is a matter of the wall clock: other processes write and read
// it, and it outlives a reboot. Follow turns it into a TTL of the monotonic clock
// when it sets an override, and does so again when the wall clock has been set.
package spool
