//! `--user`: another user once the port is bound, for good.

use std::ffi::CString;

use nix::{
    errno::Errno,
    unistd::{Gid, Group, Uid, User, getgroups, getresgid, getresuid, initgroups, setgid, setgroups, setuid},
};

use lb_net::config::UserName;

use crate::failure::{Failure, Status};

/// Somebody that this system knows.
#[derive(Debug)]
pub(crate) struct Identity {
    written: UserName,
    /// Where it was written: `--user`.
    place: &'static str,
    user: Uid,
    group: Gid,
    /// For the groups that the system lists under it; a number without a name has none.
    name: Option<CString>,
}

impl Identity {
    /// Looks the names up: a user, by its number too, and its group unless another one is named.
    ///
    /// # Errors
    /// When somebody is unknown.
    pub(crate) fn find(written: &UserName, place: &'static str) -> Result<Self, Failure> {
        let about = |line: String| Failure::new(Status::System, line).about(place);
        let asked = |error: Errno| Failure::chain(Status::System, &error).about(place);
        let known = find_user(written.user()).map_err(asked)?;
        let user = known.as_ref().map(|user| user.uid).or_else(|| written.user().parse().ok().map(Uid::from_raw));
        let user = user.ok_or_else(|| about(format!("unknown user '{}'", written.user())))?;
        let group = match written.group() {
            Some(group) => {
                find_group(group).map_err(asked)?.ok_or_else(|| about(format!("unknown group '{group}'")))?
            }
            None => known.as_ref().map(|user| user.gid).ok_or_else(|| {
                about(format!("user {} has no group of its own: name one, {0}:GROUP", written.user()))
            })?,
        };
        let name = known.and_then(|user| CString::new(user.name).ok());
        Ok(Self { written: written.clone(), place, user, group, name })
    }

    /// The numbers of the user and its group.
    pub(crate) fn ids(&self) -> (u32, u32) {
        (self.user.as_raw(), self.group.as_raw())
    }

    /// Whether we may become somebody else, said before anything is made for them.
    ///
    /// # Errors
    /// When we are not root.
    pub(crate) fn allowed(place: &str) -> Result<(), Failure> {
        if Uid::effective().is_root() {
            return Ok(());
        }
        let line = format!("only root can become another user: start lb as root, or leave {place} out");
        Err(Failure::new(Status::System, line).about(place))
    }

    /// Becomes this user, with its groups and without any right of root, and makes sure that there is no way back. The
    /// whole process does: libc changes all of its threads.
    ///
    /// # Errors
    /// When the system refuses, or has not done it: then nobody may be served.
    pub(crate) fn assume(&self) -> Result<(), Failure> {
        let failed =
            |error: Errno| Failure::chain(Status::System, &error).about(&format!("{} {}", self.place, self.written));
        match &self.name {
            Some(name) => initgroups(name, self.group),
            None => setgroups(&[self.group]),
        }
        .map_err(failed)?;
        setgid(self.group).map_err(failed)?;
        setuid(self.user).map_err(failed)?;
        if self.is_assumed().map_err(failed)? {
            return Ok(());
        }
        Err(Failure::new(Status::System, format!("{} {}: rights of root are left", self.place, self.written)))
    }

    fn is_assumed(&self) -> Result<bool, Errno> {
        let (users, groups) = (getresuid()?, getresgid()?);
        let user = [users.real, users.effective, users.saved].iter().all(|user| *user == self.user);
        let group = [groups.real, groups.effective, groups.saved].iter().all(|group| *group == self.group);
        // Who asks for root by name gets root.
        let is_root = self.user.is_root();
        let no_way_back = is_root || (setuid(Uid::from_raw(0)).is_err() && setgid_of_root_is_refused(self.group));
        let no_group_of_root = self.name.is_some() || getgroups()?.iter().all(|group| *group == self.group);
        Ok(user && group && no_way_back && no_group_of_root)
    }
}

/// Unless it is the group that was asked for.
fn setgid_of_root_is_refused(group: Gid) -> bool {
    group == Gid::from_raw(0) || setgid(Gid::from_raw(0)).is_err()
}

/// By name, then by number: a name of digits is a name.
fn find_user(word: &str) -> Result<Option<User>, Errno> {
    match User::from_name(word)? {
        None => word.parse().map_or(Ok(None), |number| User::from_uid(Uid::from_raw(number))),
        known => Ok(known),
    }
}

/// A number needs no name.
fn find_group(word: &str) -> Result<Option<Gid>, Errno> {
    let known = Group::from_name(word)?.map(|group| group.gid);
    Ok(known.or_else(|| word.parse().ok().map(Gid::from_raw)))
}
