;;; ragmacs-srv-watched.el --- What Emacs does while its test watches the other side  -*- lexical-binding: t; -*-

;;; Code:

(require 'ragmacs-srv-test)
(require 'org)
(require 'gptel nil t)
(require 'ragmacs-srv-gptel nil t)

(defun ragmacs-srv-watched-list (addresses report)
  "Have the reading list ADDRESSES become REPORT, as its key does; return at once."
  (with-temp-buffer
    (insert "To read:\n" (mapconcat (lambda (each) (format "- %s\n" each)) addresses ""))
    (push-mark (point-min) t t)
    (cl-letf (((symbol-function 'use-region-p) #'always)
              ((symbol-function 'read-file-name) (lambda (&rest _) report)))
      (call-interactively #'ragmacs-srv-summarize-list))))

(defun ragmacs-srv-watched-states (report)
  "Return (STATUS . URL) of each heading of REPORT that has an address."
  (with-current-buffer (find-buffer-visiting report)
    (should-not (buffer-modified-p))
    (delq nil (org-map-entries (lambda ()
                                 (when-let ((url (org-entry-get nil "URL")))
                                   (cons (org-entry-get nil "STATUS") url)))))))

(ert-deftest ragmacs-srv-watched-reading-list ()
  "A list whose eleventh page hangs is stopped there, sent again, and comes to its end."
  (let* ((addresses (split-string (getenv "TEST_LIST")))
         (folder (make-temp-file "list" t))
         (report (expand-file-name "report.org" folder)))
    (should (member "cancelled"
                    (mapcar (lambda (each) (string-remove-prefix "ragmacs: " each))
                            (ragmacs-srv-test-messages
                             (ragmacs-srv-watched-list addresses report)
                             (ragmacs-srv-test-wait (string-search "10/20" (ragmacs-srv--jobs-text)) 40)
                             (call-interactively #'ragmacs-srv-cancel)))))
    (ragmacs-srv-test-wait (ragmacs-srv-test-idle :batch)) ; it lets go of the list
    (should-not (file-exists-p report))
    (should (equal (ragmacs-srv--jobs-text) ""))
    (should (string-search "17 done"
                           (car (ragmacs-srv-test-messages
                                 (ragmacs-srv-watched-list addresses report)
                                 (ragmacs-srv-test-wait (map-empty-p ragmacs-srv--requests) 40)))))
    (let ((states (ragmacs-srv-watched-states report)))
      (should (equal (sort (mapcar #'cdr states) #'string<) (sort (copy-sequence addresses) #'string<)))
      (pcase-dolist (`(,status . ,url) states)
        (should (equal status (if (string-match-p "missing\\|broken" url) "failed" "done")))))
    (delete-directory folder t)))

(ert-deftest ragmacs-srv-watched-abort ()
  "A chat with our backend is aborted in the middle of what a model writes; the next question is answered."
  (let ((inhibit-message t))
    (ragmacs-srv-gptel-setup)
    (let* ((gptel-backend (gptel-get-backend "ragmacs"))
           (gptel-model 'ragmacs)
           (text "")
           (ask (lambda (prompt)
                  (gptel-request prompt
                    :stream t
                    :callback (lambda (response _info)
                                (when (stringp response)
                                  (setq text (concat text response)))))))
           (fsm (with-temp-buffer
                  (let ((fsm (funcall ask "What does GOGC set, slowly?")))
                    (ragmacs-srv-test-wait (string-search "GOGC sets" text))
                    (should (eq (gptel-fsm-state fsm) 'TYPE))
                    (gptel-abort (current-buffer))
                    fsm))))
      (should (eq (gptel-fsm-state fsm) 'ABRT))
      (setq text "")
      (with-temp-buffer
        (setq fsm (funcall ask "What does GOGC set, at once?"))
        (ragmacs-srv-test-wait (eq (gptel-fsm-state fsm) 'DONE)))
      (should (string-search "how far the heap may grow" text)))))

;;; ragmacs-srv-watched.el ends here
