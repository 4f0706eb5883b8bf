//! Destroying files, file systems and devices.

use sandbox_types::Effect::{DestroysData, DestroysDevice, OutOfWorkspace};

mod deleted;
mod written;

use deleted::deletes;
use written::writes_device;
pub(crate) use written::written;

use super::{Rule, When};
use crate::{
    paths::{Place, place_of},
    risk::{CRITICAL, HIGH, Held, LOW, MEDIUM},
};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "fs.delete-root",
        score: CRITICAL + 10,
        effects: &[DestroysData, OutOfWorkspace],
        held: Held::View,
        when: When::Holds(|scene, command| {
            deletes(scene, command, |place, _| {
                place == Place::Root || place == Place::SystemTree
            })
        }),
        message: "deletes the system, or a tree that it cannot do without",
        suggestion: "name the one directory below the workspace that is to go",
        matches: &[
            "rm -rf /",
            "sudo rm -r -f /*",
            "rm -rf --no-preserve-root /",
            "rm -fr /usr",
            "cd / && rm -rf *",
            "rm -rf ${HOME}/../../etc",
            "find / -delete",
            "find /etc -exec rm -rf {} +",
        ],
        spares: &[
            "rm -rf ./build",
            "rm -rf /tmp/x",
            "ls /",
            "echo rm -rf /",
            "find / -name x",
        ],
    },
    Rule {
        id: "fs.delete-home",
        score: CRITICAL,
        effects: &[DestroysData, OutOfWorkspace],
        held: Held::View,
        when: When::Holds(|scene, command| {
            deletes(scene, command, |place, all| place == Place::Home && all)
        }),
        message: "deletes a whole home directory",
        suggestion: "name the one directory that is to go",
        matches: &[
            "rm -rf ~",
            "rm -rf $HOME/*",
            "rm -r /home/alice",
            "find ~ -delete",
        ],
        spares: &["rm -rf ~/project/build", "ls ~"],
    },
    Rule {
        id: "fs.delete-system-file",
        score: HIGH,
        effects: &[DestroysData, OutOfWorkspace],
        held: Held::View,
        when: When::Holds(|scene, command| {
            deletes(scene, command, |place, _| place == Place::SystemFile)
        }),
        message: "deletes files of the operating system",
        suggestion: "let the package manager remove what it installed",
        matches: &[
            "rm /etc/shadow",
            "rm -f \"/usr/bin/curl\"",
            "f=/etc/timezone; rm -f \"$f\"",
            "unlink /etc/hosts",
        ],
        spares: &[
            "rm -rf /var/lib/apt/lists/*",
            "rm -f /tmp/lock",
            "cat /etc/hosts",
        ],
    },
    Rule {
        id: "fs.delete-in-home",
        score: MEDIUM,
        effects: &[DestroysData, OutOfWorkspace],
        held: Held::View,
        when: When::Holds(|scene, command| {
            deletes(scene, command, |place, all| place == Place::InHome && all)
        }),
        message: "deletes a directory in a home directory",
        suggestion: "move it aside first",
        matches: &[
            "rm -rf ~/.config/tool",
            "rm -r \"/Users/ann/Music/old tapes\"",
        ],
        spares: &["rm ~/notes.txt", "rm -rf ~/.cache/pip"],
    },
    Rule {
        id: "fs.delete-outside",
        score: MEDIUM,
        effects: &[DestroysData, OutOfWorkspace],
        held: Held::View,
        when: When::Holds(|scene, command| {
            deletes(scene, command, |place, all| place == Place::Outside && all)
        }),
        message: "deletes a directory outside of the workspace",
        suggestion: "work inside the workspace",
        matches: &["rm -rf /data/db", "rm -rf /mnt/backup/*"],
        spares: &["rm -rf /tmp/build", "rm -rf target"],
    },
    Rule {
        id: "fs.delete-unknown",
        score: MEDIUM,
        effects: &[DestroysData],
        held: Held::Rollback,
        when: When::Holds(|scene, command| {
            deletes(scene, command, |place, all| place == Place::Unknown && all)
        }),
        message: "deletes a directory that the text does not name; with an empty variable it is another one",
        suggestion: "write ${VAR:?} so that an empty value stops it",
        matches: &["rm -rf \"$DIR\"/*", "rm -rf $(get_dir)"],
        spares: &["rm -rf build/$NAME", "rm \"$file\""],
    },
    Rule {
        id: "fs.delete-everything-here",
        score: MEDIUM,
        effects: &[DestroysData],
        held: Held::Rollback,
        when: When::Holds(|scene, command| {
            deletes(scene, command, |place, all| place == Place::Wide && all)
        }),
        message: "deletes the whole workspace or its history",
        suggestion: "name what is to go; in a sandbox `undo` brings it back",
        matches: &[
            "rm -rf ./* .git",
            "rm -rf .",
            "rm -r ../*",
            "rm -rf *",
            "find . -delete",
            "find . -type f -exec shred {} +",
        ],
        spares: &["rm -rf build", "rm *.o", "find . -name '*.pyc' -delete"],
    },
    Rule {
        id: "fs.delete-tree",
        score: LOW,
        effects: &[DestroysData],
        held: Held::Rollback,
        when: When::Holds(|scene, command| {
            deletes(scene, command, |place, all| {
                place == Place::Workspace && all
            })
        }),
        message: "deletes a directory",
        suggestion: "in a sandbox `undo` brings it back",
        matches: &["rm -rf build", "rm -r -f src/old"],
        spares: &["rm a.txt", "rmdir empty"],
    },
    Rule {
        id: "fs.shred",
        score: MEDIUM,
        effects: &[DestroysData],
        held: Held::Rollback,
        when: When::Looks(&["shred|srm|wipe|scrub .. *"]),
        message: "overwrites files so that they cannot be recovered",
        suggestion: "delete them with rm",
        matches: &["shred -u secret.txt", "srm -m file"],
        spares: &["shred --help", "rm file"],
    },
    Rule {
        id: "fs.discard-content",
        score: MEDIUM,
        effects: &[DestroysData],
        held: Held::Rollback,
        when: When::Looks(&["mv =/dev/null", "truncate -s|--size ~0 !~K|M|G|+|r"]),
        message: "throws the content of files away",
        suggestion: "move it aside first",
        matches: &["mv data /dev/null", "truncate -s 0 app.db"],
        spares: &["mv a b", "truncate -s 10M disk.img", "cmd > /dev/null"],
    },
    Rule {
        id: "device.write",
        score: CRITICAL + 5,
        effects: &[DestroysDevice],
        held: Held::View,
        when: When::Holds(writes_device),
        message: "overwrites a block device",
        suggestion: "write to an image file",
        matches: &[
            "dd if=/dev/zero of=/dev/sda",
            "cat image > /dev/sdb",
            "cp x.iso /dev/sdc",
            "yes | tee /dev/nvme0n1",
            "shred /dev/sda",
        ],
        spares: &[
            "dd if=/dev/sda of=disk.img",
            "cat /dev/sda | head",
            "ls > /dev/null",
            "dd if=a of=b",
        ],
    },
    Rule {
        id: "device.format",
        score: CRITICAL,
        effects: &[DestroysDevice],
        held: Held::View,
        when: When::Looks(&[
            "mkfs|mkfs.*|mke2fs|mkswap|mkntfs|mkdosfs|newfs|wipefs|blkdiscard|badblocks @device !--no-act",
            "cryptsetup luksFormat|erase|luksErase|reencrypt",
            "hdparm --security-erase|--security-erase-enhanced|--trim-sector-ranges",
            "nvme format|sanitize",
            "sgdisk|gdisk -Z|-z|--zap|--zap-all|-o|--clear",
            "sfdisk --delete|--wipe",
            "diskutil eraseDisk|eraseVolume|reformat|partitionDisk",
            "format C:*|D:*",
            "dd of=/dev/disk*",
            "ddrescue @device -f|--force",
            "mformat ..",
        ]),
        message: "makes a new file system or erases a device",
        suggestion: "work on an image file",
        matches: &[
            "mkfs.ext4 /dev/sdb1",
            "sudo mkfs -t xfs /dev/nvme0n1p2",
            "wipefs -a /dev/sda",
            "cryptsetup luksFormat /dev/sdb",
        ],
        spares: &[
            "mkfs.ext4 disk.img",
            "cryptsetup status x",
            "mkfs --help",
            "wipefs disk.img",
        ],
    },
    Rule {
        id: "device.partition",
        score: HIGH,
        effects: &[DestroysDevice],
        held: Held::View,
        when: When::Looks(&[
            "fdisk|cfdisk|sfdisk|gdisk|cgdisk|sgdisk|parted @device !-l|--list|-p|--print|-d|--dump|-i|--info|-s",
            "fdisk|cfdisk|sfdisk|gdisk|parted|sgdisk -s|-d|-n|-t|--delete|--new @device !-l|--list|-p|--print|--dump !~print",
            "parted ~mklabel|mkpart|resizepart|mktable",
            "parted .. rm",
            "pvremove|vgremove|lvremove|pvcreate|vgreduce|lvreduce|pvmove *",
            "mdadm --zero-superblock|--stop|--remove|--fail|--create|--assemble",
            "dmsetup remove|remove_all|wipe_table",
            "zpool|zfs destroy|rollback|labelclear",
            "btrfs subvolume|sub|device delete|remove",
            "mkfs|mkfs.*|mkswap ~/dev/ !@device",
            "badblocks -w",
            "tune2fs @device",
            "resize2fs|xfs_growfs @device",
            "e2fsck|fsck|fsck.* @device -y|-f",
            "debugfs -w",
            "partprobe *",
            "swapoff -a",
            "tomb forge|exhume|bury",
        ]),
        message: "changes partitions, volumes or arrays",
        suggestion: "look first with lsblk; let a person do it",
        matches: &[
            "fdisk /dev/sda",
            "lvremove vg/data",
            "zpool destroy pool7",
            "sudo mdadm --remove /dev/md0 /dev/sdb1",
        ],
        spares: &["fdisk -l /dev/sda", "lsblk", "zpool status", "lvs"],
    },
    Rule {
        id: "fs.system-permissions",
        score: HIGH,
        effects: &[DestroysData, OutOfWorkspace],
        held: Held::View,
        when: When::Looks(&[
            "chmod|chown|chgrp|setfacl|chattr -R|--recursive @system",
            "chmod|chown|chgrp|setfacl -R|--recursive @home",
            "chmod -R|--recursive ~777|a+rwx|000|o+w @wide",
            "chmod ~777|666|a+w|o+w|a+rwx @systemfile",
            "chmod ~000|777 @system",
            "chattr -R|--recursive @root",
        ]),
        message: "changes the permissions of the system or of everything",
        suggestion: "change the one file that needs it",
        matches: &["chmod -R 777 /", "chown -R me /usr", "chmod -R 777 ."],
        spares: &["chmod +x run.sh", "chmod -R u+w build", "chown me file"],
    },
    Rule {
        id: "fs.overwrite-system",
        score: MEDIUM,
        effects: &[OutOfWorkspace],
        held: Held::View,
        when: When::Holds(|scene, command| {
            written(command)
                .into_iter()
                .find(|word| {
                    matches!(
                        place_of(word, command, scene.places),
                        Place::SystemFile | Place::SystemTree
                    )
                })
                .map(|word| word.span)
        }),
        message: "changes a file of the operating system",
        suggestion: "work inside the workspace",
        matches: &[
            "echo x >> /etc/hosts",
            "printf x | tee -a /etc/fstab",
            "sed -i s/a/b/ /etc/ssh/ssh_config",
            "ln -sf /tmp/x /usr/bin/ls",
        ],
        spares: &[
            "cp /etc/hosts .",
            "sed s/a/b/ /etc/hosts",
            "echo x > /dev/null",
            "echo x > out.txt",
            "cat x > /tmp/y",
        ],
    },
    Rule {
        id: "backup.delete",
        score: MEDIUM,
        effects: &[DestroysData],
        held: Held::View,
        when: When::Looks(&[
            "snapper delete",
            "timeshift --delete|--delete-all",
            "restic forget|prune|key",
            "borg delete|prune|compact",
            "duplicity remove-older-than|remove-all-but-n-full|cleanup",
            "velero .. delete",
            "tmutil delete|disable|deletelocalsnapshots",
            "rclone delete|purge|deletefile|rmdirs|cleanup",
            "rdiff-backup --remove-older-than",
            "vssadmin delete",
            "wbadmin delete",
            "pg_probackup|barman|pgbackrest .. delete|expire|stanza-delete",
            "rsync --delete|--delete-after|--delete-excluded|--remove-source-files ~:",
        ]),
        message: "deletes backups or mirrored copies",
        suggestion: "list what would go first (--dry-run)",
        matches: &[
            "snapper delete 1-5",
            "borg delete repo::old",
            "restic -r /repo forget --keep-last 1",
            "rclone purge remote:dir",
        ],
        spares: &["borg list", "restic snapshots", "rclone copy a b:"],
    },
];
