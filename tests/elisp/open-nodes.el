;;; open-nodes.el --- Open what citations of Info manuals lead to  -*- lexical-binding: t; -*-

;;; Commentary:

;; Run by tests/ingest/test_info.py: each line of the file $TEST_LINKS is the link of a section,
;; as info:elisp#Buffer-Names.  Those that Emacs does not open at the very node are printed.

;;; Code:

(require 'info)

(defun open-nodes-decode (anchor)
  "Return the name of the node at ANCHOR, written as in the HTML cross references of Texinfo."
  (replace-regexp-in-string
   "__[[:xdigit:]]\\{6\\}\\|_[[:xdigit:]]\\{4\\}\\|-"
   (lambda (found)
     (if (equal found "-") " "
       (string (string-to-number (substring found (- (length found) (if (< (length found) 6) 4 6))) 16))))
   anchor t t))

(defun open-nodes-at (link)
  "Open LINK; return non-nil if its node is shown then."
  (string-match "\\`info:\\([^#]+\\)#\\(.+\\)\\'" link)
  (let ((manual (match-string 1 link))
        (node (open-nodes-decode (match-string 2 link))))
    (Info-find-node manual node nil t)
    (and (equal Info-current-node node)
         (progn (goto-char (point-min)) (search-forward node (line-end-position) t)))))

(with-temp-buffer
  (insert-file-contents (getenv "TEST_LINKS"))
  (let ((links (split-string (buffer-string) "\n" t))
        (opened 0))
    (dolist (link links)
      (if (ignore-errors (open-nodes-at link))
          (setq opened (1+ opened))
        (princ (concat link "\n"))))
    (message "%d of %d opened" opened (length links))))

;;; open-nodes.el ends here
