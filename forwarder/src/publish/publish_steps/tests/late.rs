//! What a dead session asked for, carried out beside those that follow.

use super::*;

proptest! {
    /// One request of a session that died is carried out at some later moment, beside the sessions that follow: what is
    /// published is right all the same, and nothing passes for published that is not.
    #[test]
    fn request_that_a_dead_session_left_behind_spoils_nothing(
        cuts in prop::collection::vec(cut(), 0..40),
        dies_at in 0usize..30,
        comes_after in 0usize..30,
        left_behind in prop::option::of(prop_oneof![Just(File::Half), Just(File::HalfWrong)]),
        ways in ways(),
    ) {
        let mut folder = Folder::new(ways);
        folder.temporaries = left_behind.map(|file| (1, file)).into_iter().collect();
        let before: Vec<_> = cuts.iter().copied().take(dies_at).chain([Cut::Late]).collect();
        let mut publication = folder.publication();
        for cut in before {
            let over = matches!(publication.step(), PublishStep::End(_));
            if folder.carry_out(&mut publication, cut).is_none() || over {
                publication = folder.publication();
            }
        }
        // The sessions that follow meet no accident, but for the late request.
        let mut ending = None;
        for moment in 0..200 {
            if moment == comes_after {
                folder.carry_out_late();
            }
            if let PublishStep::End(end) = publication.step() {
                ending = Some(end);
                if end.is_published() {
                    break;
                }
                publication = folder.publication();
            }
            folder.carry_out(&mut publication, Cut::None);
        }
        prop_assert!(ending.is_some_and(PublishOutcome::is_published), "{:?}", ending);
        prop_assert_eq!(folder.published, Some(File::Ours));
        folder.carry_out_late();
        prop_assert_eq!(folder.published, Some(File::Ours));
    }
}
