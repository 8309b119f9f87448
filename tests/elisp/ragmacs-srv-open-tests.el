;;; ragmacs-srv-open-tests.el --- Links open where Emacs has what they name  -*- lexical-binding: t; -*-

;;; Code:

(require 'ragmacs-srv-test)
(require 'info)
(require 'org)
(require 'ragmacs-srv-open)
(require 'ragmacs-srv-org)

(defmacro ragmacs-srv-test-with-file (name text &rest body)
  "Run BODY with `file' a file NAME of a new folder `folder' that holds TEXT."
  (declare (indent 2))
  `(let* ((folder (make-temp-file "open" t))
          (file (expand-file-name ,name folder)))
     (unwind-protect
         (progn (make-directory (file-name-directory file) t)
                (write-region ,text nil file nil 'silent)
                ,@body)
       (delete-directory folder t))))

(defun ragmacs-srv-test-line ()
  "Return the line at point in the selected window."
  (with-current-buffer (window-buffer)
    (buffer-substring-no-properties (line-beginning-position) (line-end-position))))

(defconst ragmacs-srv-test-info "This is tiny.info.

\x1f
File: tiny.info,  Node: Top,  Next: It's 3.5 - done,  Up: (dir)

Tiny
****

\x1f
File: tiny.info,  Node: It's 3.5 - done,  Prev: Top,  Up: Top

The node that is meant.
")

(ert-deftest ragmacs-srv-open-a-node-of-info ()
  (ragmacs-srv-test-with-file "tiny.info" ragmacs-srv-test-info
    (let ((Info-directory-list (list folder)) (Info-additional-directory-list nil) stored)
      (info-initialize)
      (push folder Info-directory-list)
      (ragmacs-srv-open "info:tiny#It_0027s-3_002e5-_002d-done")
      (with-current-buffer (window-buffer)
        (should (derived-mode-p 'Info-mode))
        (should (equal Info-current-node "It's 3.5 - done")))
      (org-link-open-from-string "[[ragmacs:info:tiny]]")
      (should (equal (buffer-local-value 'Info-current-node (window-buffer)) "Top"))
      (should (equal (ragmacs-srv-open--node "a__01f642") "a🙂"))
      (dolist (place '(("no-such-manual" . "Top") ("tiny" . "Gone")))
        (setq stored nil)
        (ragmacs-srv-open--info (car place) (cdr place) (lambda () (setq stored t)))
        (should stored)))))

(ert-deftest ragmacs-srv-open-a-heading-of-a-manual-page ()
  (skip-unless (executable-find "man"))
  (ragmacs-srv-test-with-file "man1/tinypage.1"
      (concat ".TH TINYPAGE 1\n.SH NAME\ntinypage \\- a page\n.SH DESCRIPTION\n"
              (mapconcat (lambda (n) (format "Line %d says something.\n.PP\n" n)) (number-sequence 1 80) "")
              ".SH EXIT STATUS\nNone.\n.SH LOW-LEVEL\n.SS Notes\nFirst.\n.SS Notes\nSecond.\n")
    (let ((process-environment (cons (concat "MANPATH=" folder) process-environment))
          (started (float-time))
          stored)
      (ragmacs-srv-open "man:tinypage(1)#EXIT_STATUS")
      (should (< (- (float-time) started) 1)) ; that is without waiting
      (let ((buffer (ragmacs-srv-test-wait (seq-find (lambda (each) (string-prefix-p "*Man " (buffer-name each)))
                                                     (buffer-list)))))
        (ragmacs-srv-test-wait (not (get-buffer-process buffer)))
        (with-current-buffer buffer
          (should (looking-at "EXIT STATUS")))
        (with-current-buffer buffer
          (goto-char (point-min)))
        (ragmacs-srv-open "man:tinypage(1)#DESCRIPTION") ; which is formatted already
        (ragmacs-srv-test-wait (with-current-buffer buffer (looking-at "DESCRIPTION")))
        (ragmacs-srv-open--man-heading buffer "LOW-LEVEL")
        (with-current-buffer buffer
          (should (looking-at "LOW.LEVEL"))
          (ragmacs-srv-open--man-heading buffer "Notes~2")
          (should (looking-at " *Notes\n *Second"))))
      (ragmacs-srv-open--man "no-such-page(1)" nil (lambda () (setq stored t)))
      (ragmacs-srv-test-wait stored))))

(ert-deftest ragmacs-srv-open-a-heading-of-a-file ()
  (pcase-dolist (`(,name ,text ,anchor ,line)
                 '(("a b.org" "* TODO Notes :tag:\n** Deep =code=\n:PROPERTIES:\n:CUSTOM_ID: mine\n:END:\n* Größe\n"
                    "mine" "** Deep =code=")
                   ("a.org" "* TODO Notes :tag:\n* A [[https://x.dev][link]]\n" "notes" "* TODO Notes :tag:")
                   ("b.org" "* TODO Notes :tag:\n* A [[https://x.dev][link]]\n" "a-link" "* A [[https://x.dev][link]]")
                   ("a.md" "# Usage\ntext\n## Usage\n### The `go` tool, *now*\n" "usage-1" "## Usage")
                   ("b.md" "# Usage\ntext\n## Usage\n### The `go` tool, *now*\n" "the-go-tool-now" "### The `go` tool, *now*")
                   ("c.md" "Title\n=====\n\nLarge Größe {#big}\n---\n" "big" "Large Größe {#big}")
                   ("d.md" "Title\n=====\n\nLarge Größe\n-----\n" "large-gr%C3%B6%C3%9Fe" "Large Größe")
                   ("a.rst" "Title\n=====\n\nA section\n---------\ntext\n" "a-section" "A section")
                   ("a.adoc" "= Title\n\n== A Section\ntext\n" "_a_section" "== A Section")
                   ("a.txt" "first\nsecond\n" "nowhere" "first")))
    (ragmacs-srv-test-with-file name (concat text "\n")
      (ragmacs-srv-open (concat "file://" (mapconcat #'url-hexify-string (split-string file "/") "/") "#" anchor))
      (should (equal buffer-file-name file))
      (should (equal (list name (ragmacs-srv-test-line)) (list name line)))
      (kill-buffer))))

(ert-deftest ragmacs-srv-open-what-is-gone-or-cannot-be-drawn-as-it-is-stored ()
  (ragmacs-srv-test-with-file "a.pdf" "%PDF-1.4\n"
    (dolist (address (list "///no/such/file.org" "///ssh:example.invalid:/etc/motd" (concat "//" folder) (concat "//" file)))
      (let (stored)
        (ragmacs-srv-open--file address "page=2" (lambda () (setq stored t)))
        (should (equal (list address stored) (list address t))))))
  (ragmacs-srv-open "handbook:sync-pool")
  (ragmacs-srv-test-wait (map-empty-p ragmacs-srv--requests))
  (with-current-buffer (window-buffer)
    (should (derived-mode-p 'ragmacs-srv-mode))
    (should (string-search "sync.Pool" (buffer-string)))))

(ert-deftest ragmacs-srv-open-takes-the-link-at-point ()
  (with-temp-buffer
    (insert "as <info:elisp#Mapping-Functions> says, and man:ls(1)#OPTIONS, too; see [x](https://go.dev/a).")
    (dolist (link '("info:elisp#Mapping-Functions" "man:ls(1)#OPTIONS" "https://go.dev/a"))
      (goto-char (point-min))
      (search-forward (substring link 0 8))
      (should (equal (ragmacs-srv-open--read) link)))))

;;; ragmacs-srv-open-tests.el ends here
